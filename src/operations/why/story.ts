import { whenText } from "../../domain/instant-text.ts";
import { asInstant } from "../../domain/time.ts";
import type { StoryLine, StoryWire } from "../../protocol/api/records.ts";
import { withoutControls } from "../../protocol/terminal-text.ts";
import type { ActionRow } from "../../store/port/records.ts";
import type { JobFacts, StoryFacts } from "./facts.ts";
import { runLines, tellsEnd } from "./run-lines.ts";
import { standingOf } from "./standing.ts";

/**
 * Tells what happened to a thing, on what evidence, what it waits for and what comes next. Pure. Control characters in foreign text are
 * dropped unless `raw`, because they could command a terminal.
 */
export function tellStory(facts: StoryFacts, { raw = false }: { readonly raw?: boolean } = {}): StoryWire {
  const clean = raw ? (text: string) => text : withoutControls;
  // At one instant: the item enters its stage, then its job is enqueued, then everything else.
  const past = [
    ...itemLines(facts),
    ...facts.jobs.flatMap((job) => jobLines(job, facts)),
    ...facts.actions.filter((action) => !tellsEnd(action) && action.action !== "item.added").map(actionLine),
  ];
  const newest = facts.jobs.at(-1);
  const standing = newest === undefined ? [] : standingOf(newest, facts);
  const lines = [...past.toSorted((a, b) => (a.at ?? 0) - (b.at ?? 0)), ...standing].map((line) => ({
    ...line,
    text: clean(line.text),
  }));
  const subject = subjectText(facts);
  const headline = clean(headlineOf(facts, standing));
  return { subject, headline, now: facts.now, lines, text: textOf(headline, lines, facts) };
}

function subjectText({ subject }: StoryFacts): string {
  return subject.kind === "run" ? `attempt ${subject.attempt} of job:${subject.jobId}` : `${subject.kind}:${subject.id}`;
}

function headlineOf(facts: StoryFacts, standing: readonly StoryLine[]): string {
  const { subject, item, jobs } = facts;
  const job = jobs.at(-1)?.job;
  const known = standing.find(({ tense }) => tense === "now")?.text ?? "";
  if (subject.kind === "run") {
    const run = jobs.flatMap(({ runs }) => runs).find(({ id }) => id === subject.id);
    return `${capital(subjectText(facts))} (${job?.queue ?? "unknown queue"}) ${run?.state === "ended" ? `has ended: ${run.outcome ?? "unknown"} (${run.reason ?? "no reason on record"}).` : `is ${run?.state ?? "unknown"}.`}`;
  }
  if (subject.kind === "item" && item !== undefined) {
    return `item:${item.id} (${item.pipeline}: ${item.label ?? item.key}) is ${item.state} in stage ${item.stage}. ${item.state === "active" ? known : ""}`.trim();
  }
  if (job === undefined) return `${subjectText(facts)} has no job.`;
  const state = job.state === "queued" && job.blockedBy !== null ? "queued, blocked" : job.state;
  return `job:${job.id} (${job.queue}) is ${state}. ${job.finishedAt === null ? known : ""}`.trim();
}

function jobLines({ job, runs }: JobFacts, facts: StoryFacts): StoryLine[] {
  // A story of one run begins with that run.
  const told = facts.subject.kind === "run" ? runs.filter(({ id }) => id === facts.subject.id) : runs;
  const created: StoryLine = {
    at: job.createdAt,
    tense: "past",
    text: `job:${job.id} was enqueued on ${job.queue}, for at most ${job.maxAttempts} attempt${job.maxAttempts === 1 ? "" : "s"}.`,
  };
  const lines = [...(facts.subject.kind === "run" ? [] : [created]), ...told.flatMap((run) => runLines(run, facts))];
  // An item has a first attempt in every stage.
  return facts.subject.kind === "item"
    ? lines.map((line) => ({ ...line, text: line.text.startsWith(`job:${job.id} `) ? line.text : `job:${job.id}: ${line.text}` }))
    : lines;
}

function itemLines({ subject, item, visits, actions }: StoryFacts): StoryLine[] {
  if (subject.kind !== "item" || item === undefined) return [];
  const added = actions.find(({ action }) => action === "item.added");
  const came: StoryLine = {
    at: item.createdAt,
    tense: "past",
    text: `The item was added${added === undefined ? "" : ` by ${added.actor}`}, with the key ${item.key}.`,
  };
  const stages = visits.flatMap((visit) => {
    const opened: StoryLine = {
      at: visit.openedAt,
      tense: "past",
      text: `The item entered stage ${visit.stage}${visit.number === 1 ? "" : ` (visit ${visit.number})`}.`,
    };
    if (visit.closedAt === null) return [opened];
    const ends = { open: "is open", passed: "passed", returned: "left without passing", failed: "failed" };
    return [opened, { at: visit.closedAt, tense: "past" as const, text: `Stage ${visit.stage}: ${ends[visit.state]}.` }];
  });
  return [came, ...stages];
}

function actionLine({ at, action, actor, reason, message }: ActionRow): StoryLine {
  const said = message ?? reason;
  return {
    at,
    tense: "past",
    text: `${action} by ${actor}${said === null ? "" : `: ${said}`}${said !== null && /[.!?]$/.test(said) ? "" : "."}`,
  };
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function textOf(headline: string, lines: readonly StoryLine[], { now }: StoryFacts): string {
  const shown = lines.map(({ at, tense, text }) =>
    tense === "past" && at !== null
      ? `  ${whenText(asInstant(at), now)}\n      ${text}`
      : tense === "now"
        ? `  Now: ${text}`
        : `  Next: ${text}`,
  );
  return [headline, "", ...shown].join("\n");
}
