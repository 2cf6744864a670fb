import type { HeldRun } from "../port/runs.ts";
import type { SessionPresence } from "../port/workers.ts";

/** A session as one list: many of them travel as one string, a third of the price of rows as objects. */
export type PresenceRow = readonly [
  id: SessionPresence["id"],
  lastHeardAt: SessionPresence["lastHeardAt"],
  hostId: SessionPresence["process"]["hostId"],
  bootId: string,
  pidNamespace: string,
  pid: number,
  startTime: string,
];

/** A run that a session holds, in the same way. */
export type HeldRow = readonly [
  runId: HeldRun["runId"],
  jobId: HeldRun["jobId"],
  ownerEpoch: HeldRun["ownerEpoch"],
  kind: HeldRun["kind"],
  state: HeldRun["state"],
];

/** The condition of a live run of a handler whose job belongs to no item. */
export const plainRun = "and kind = 'handler' and item_id is null";

export function presenceOf([id, lastHeardAt, hostId, bootId, pidNamespace, pid, startTime]: PresenceRow): SessionPresence {
  return { id, lastHeardAt, process: { hostId, bootId, pidNamespace, pid, startTime } };
}

/** Reads what sessions hold in (session, id) order after the cursor, a session at a time: each is a range of the index. */
export async function readHeld(
  options: {
    readonly workerIds: readonly HeldRun["workerId"][];
    readonly after?: { readonly workerId: HeldRun["workerId"]; readonly runId: HeldRun["runId"] } | undefined;
    readonly limit: number;
  },
  page: (of: { readonly workerId: HeldRun["workerId"]; readonly afterRun: number; readonly limit: number }) => Promise<readonly HeldRow[]>,
): Promise<readonly HeldRun[]> {
  const { workerIds, after, limit } = options;
  const runs: HeldRun[] = [];
  for (const workerId of [...workerIds].sort((a, b) => a - b)) {
    if (runs.length >= limit) break;
    if (after !== undefined && workerId < after.workerId) continue;
    const afterRun = after !== undefined && workerId === after.workerId ? after.runId : -1;
    for (const [runId, jobId, ownerEpoch, kind, state] of await page({ workerId, afterRun, limit: limit - runs.length })) {
      runs.push({ runId, jobId, ownerEpoch, workerId, kind, state });
    }
  }
  return runs;
}
