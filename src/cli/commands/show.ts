import { whenText } from "../../domain/instant-text.ts";
import { asInstant } from "../../domain/time.ts";
import { api } from "../../protocol/api/index.ts";
import type { JobWire, RunWire } from "../../protocol/api/rows.ts";
import type { AnswerOf } from "../../protocol/endpoint.ts";
import { withoutControls } from "../../protocol/terminal-text.ts";
import type { CommandCall, CommandContext } from "../command.ts";
import { parseReference, resolveReference } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""] }: CommandCall): Promise<void> {
  const reference = parseReference(what, "job");
  const { client } = await connect({ offline: true });
  const { kind, id } = await resolveReference(client, reference);
  const now = host.clock.wall();
  const show = (answer: unknown, text: string): void => host.output.out(json ? `${JSON.stringify(answer)}\n` : withoutControls(text));
  if (kind === "item") {
    const answer = await client.call(api.getItem, { params: { id } });
    show(answer, itemText(answer, now));
  } else if (kind === "job") {
    const answer = await client.call(api.getJob, { params: { id } });
    show(answer, jobText(answer, now));
  } else {
    const answer = await client.call(api.getRun, { params: { id } });
    show(answer, runText(answer.run, now));
  }
}

function itemText({ item, visits, jobs, runs }: AnswerOf<typeof api.getItem>, now: number): string {
  return [
    block(`item:${item.id}`, [
      ["pipeline", item.pipeline],
      ["key", item.key],
      ["label", item.label],
      ["state", item.state],
      ["stage", item.stage],
      ["directory", item.dir],
      ["repository", item.repo],
      ["branch", item.branch],
      ["created", when(item.createdAt, now)],
      ["changed", when(item.updatedAt, now)],
      ["finished", when(item.finishedAt, now)],
      ["error", item.error],
      ["input", json(item.input)],
    ]),
    ...visits.map(
      (visit) =>
        `\n  visit ${visit.number}: stage ${visit.stage}, ${visit.state}${visit.counts ? "" : ", does not count any more"}; attempts ${visit.attempts}/${visit.maxAttempts}${visit.maxLosses === null ? "" : `, losses ${visit.losses}/${visit.maxLosses}`}\n${jobs
          .filter(({ visitId }) => visitId === visit.id)
          .map((job) => indent(jobText({ job, runs: runs.filter(({ jobId }) => jobId === job.id) }, now)))
          .join("")}`,
    ),
  ].join("");
}

function jobText({ job, runs }: { readonly job: JobWire; readonly runs: readonly RunWire[] }, now: number): string {
  const state =
    job.blockedBy === null
      ? job.state
      : `${job.state}, an earlier attempt is being stopped until ${when(job.stopBy, now) ?? "it is proved dead"}`;
  return [
    block(`job:${job.id}`, [
      ["queue", job.queue],
      ["state", job.paused ? `${state}, paused` : state],
      ["priority", job.priority === 0 ? null : String(job.priority)],
      ["attempts", `${job.attempts}/${job.maxAttempts}`],
      ["losses", job.maxLosses === null ? null : `${job.losses}/${job.maxLosses}`],
      ["due", job.state === "scheduled" ? when(job.runAt, now) : null],
      ["item", job.itemId === null ? null : `item:${job.itemId}`],
      ["agent", job.agent],
      ["repository", job.repo],
      ["created", when(job.createdAt, now)],
      ["finished", when(job.finishedAt, now)],
      ["error", job.error],
      ["input", json(job.payload)],
      ["output", json(job.output)],
    ]),
    ...runs.toSorted((a, b) => a.attempt - b.attempt).map((run) => indent(runText(run, now))),
  ].join("");
}

function runText(run: RunWire, now: number): string {
  return block(`attempt ${run.attempt} (run:${run.id})`, [
    ["state", run.state],
    ["outcome", run.outcome === null ? null : `${run.outcome} (${run.reason ?? "no reason on record"})`],
    ["message", run.message],
    ["process", run.process === null ? null : `${run.process.pid} on ${run.process.hostId}`],
    ["reserved", run.startedAt === null ? when(run.reservedAt, now) : null],
    ["started", when(run.startedAt, now)],
    ["progress", run.progressAt === null ? null : `${when(run.progressAt, now)}${run.progress === null ? "" : ` ${json(run.progress)}`}`],
    ["exited", run.exitedAt === null ? null : `${when(run.exitedAt, now)} with code ${run.exitCode ?? "unknown"}`],
    ["ended", when(run.endedAt, now)],
    ["spent", run.spent],
    ["evidence", json(run.evidence)],
  ]);
}

function block(title: string, entries: readonly (readonly [string, string | null])[]): string {
  const lines = entries.flatMap(([name, value]) =>
    value === null || value === "" ? [] : [`  ${name.padEnd(10)} ${value.replaceAll("\n", "\n             ")}\n`],
  );
  return `${title}\n${lines.join("")}`;
}

const indent = (text: string): string => text.replaceAll(/^(?=.)/gm, "    ");
const when = (at: number | null, now: number): string | null => (at === null ? null : whenText(asInstant(at), asInstant(now)));
const json = (value: unknown): string | null => (value === null || value === undefined ? null : JSON.stringify(value));
