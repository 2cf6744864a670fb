import type { HeldRun, RunsStore } from "../port/runs.ts";
import type { SessionPresence, WorkersStore } from "../port/workers.ts";
import type { SqliteConnection } from "./connection.ts";

/** One string crosses the boundary to JavaScript, whatever the number of rows: a third of the price of rows as objects. */
const presence = `
  select json_group_array(json_array(id, last_heard_at, host_id, boot_id, pid_namespace, pid, start_time)) as text
  from (select * from workers where state in ('live', 'draining') order by id)`;

const held = `
  select json_group_array(json_array(id, job_id, owner_epoch, kind, state)) as text
  from (select id, job_id, owner_epoch, kind, state from runs indexed by runs_of_worker
        where worker_id = ? and ended_at is null and id > ? order by id limit ?)`;

type PresenceRow = readonly [
  id: SessionPresence["id"],
  lastHeardAt: SessionPresence["lastHeardAt"],
  hostId: SessionPresence["process"]["hostId"],
  bootId: string,
  pidNamespace: string,
  pid: number,
  startTime: string,
];
type HeldRow = readonly [
  runId: HeldRun["runId"],
  jobId: HeldRun["jobId"],
  ownerEpoch: HeldRun["ownerEpoch"],
  kind: HeldRun["kind"],
  state: HeldRun["state"],
];

/** What is read each second of every session, and of what the dead among them held. */
export function createWatchReads(connection: SqliteConnection): Pick<WorkersStore, "listPresence"> & Pick<RunsStore, "listHeld"> {
  const read = (sql: string, parameters: readonly number[] = []): unknown =>
    JSON.parse((connection.prepare(sql).get(...parameters) as { text: string }).text);
  return {
    listPresence: async () => {
      const rows = (await connection.exclusive(() => read(presence))) as readonly PresenceRow[];
      return rows.map(([id, lastHeardAt, hostId, bootId, pidNamespace, pid, startTime]) => ({
        id,
        lastHeardAt,
        process: { hostId, bootId, pidNamespace, pid, startTime },
      }));
    },
    listHeld: async ({ workerIds, after, limit }) => {
      const runs: HeldRun[] = [];
      for (const workerId of [...workerIds].sort((a, b) => a - b)) {
        if (runs.length >= limit) break;
        if (after !== undefined && workerId < after.workerId) continue;
        const afterRun = after !== undefined && workerId === after.workerId ? after.runId : -1;
        const rows = (await connection.exclusive(() => read(held, [workerId, afterRun, limit - runs.length]))) as readonly HeldRow[];
        for (const [runId, jobId, ownerEpoch, kind, state] of rows) runs.push({ runId, jobId, ownerEpoch, workerId, kind, state });
      }
      return runs;
    },
  };
}
