import { api } from "../../src/protocol/api/index.ts";
import type { JobWire, RunWire } from "../../src/protocol/api/rows.ts";
import type { Client } from "../../src/protocol/client.ts";
import type { Accepted, RunRow } from "./invariants.ts";
import type { Execution } from "./ledger.ts";
import type { Submission } from "./load.ts";
import { isAlive, isOfRun } from "./process-tree.ts";

/** A submission with what the store says of it. */
export interface SeenSubmission {
  readonly accepted: Accepted;
  readonly runs: readonly RunRow[];
}

const finalStates = new Set(["done", "failed", "cancelled", "returned"]);

export async function look(client: Client, { kind, name, ends, id, lastError }: Submission): Promise<SeenSubmission> {
  const nothing = { ends, state: undefined, final: false, jobs: [] };
  if (id === undefined) return { accepted: { ...nothing, name, state: "not accepted", why: lastError }, runs: [] };
  if (kind === "task") {
    const { job, runs } = await client.call(api.getJob, { params: { id } });
    const accepted = {
      name: `job ${id} (${name})`,
      ends,
      state: job.state,
      final: finalStates.has(job.state),
      why: whyOf(job),
      jobs: [id],
    };
    return { accepted, runs: runs.map(rowOf) };
  }
  const { item, jobs, runs } = await client.call(api.getItem, { params: { id } });
  const held = item.state === "active" && jobs.some(({ state }) => state === "held");
  const accepted = {
    name: `item ${id} (${name})`,
    ends,
    state: held ? "held" : item.state,
    final: finalStates.has(item.state),
    why: [item.error, ...jobs.filter(({ state }) => state !== "done").map(whyOf)].filter(Boolean).join("; "),
    jobs: jobs.map((job) => job.id),
  };
  return { accepted, runs: runs.map(rowOf) };
}

/** Commands that live on although their run has ended and nobody waits for their end. */
export function leftAlive(executions: readonly Execution[], runs: readonly RunRow[]): readonly string[] {
  const ended = new Set(runs.filter(({ state }) => state === "ended").map(({ id }) => id));
  return executions
    .filter(({ by, run, pid, endedAt }) => by === "command" && endedAt === undefined && ended.has(run) && isAlive(pid) && isOfRun(pid, run))
    .map(({ run, job, pid }) => `process ${pid} of run ${run} of job ${job} lives, and its run has ended`);
}

/** What the store says when it checks itself. */
export async function breachesOf(client: Client): Promise<readonly string[]> {
  const { integrity, breaches, unstoppable } = await client.call(api.checkStore, {});
  return [
    ...integrity.map((found) => `integrity: ${found}`),
    ...breaches.map(({ rule, subject, found }) => `${rule}: ${subject} ${found}`),
    ...unstoppable.map(({ jobId }) => `job ${jobId} waits for a run that cannot be stopped`),
  ];
}

function whyOf({ state, attempts, maxAttempts, losses, blockedBy, error }: JobWire): string {
  const spent = `${attempts}/${maxAttempts} attempts, ${losses} losses`;
  return [state, spent, blockedBy === null ? "" : `blocked by run ${blockedBy}`, error ?? ""].filter(Boolean).join(", ");
}

const rowOf = ({ id, jobId, kind, state, outcome, reason, message, spent }: RunWire): RunRow => ({
  id,
  job: jobId,
  kind,
  state,
  outcome: outcome ?? undefined,
  reason: reason ?? undefined,
  message: message ?? undefined,
  spent: spent ?? undefined,
});
