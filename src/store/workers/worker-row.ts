import type { RowOf } from "../engine/tables.ts";
import type { SupervisorRow } from "../port/runs.ts";
import type { WorkerRow } from "../port/workers.ts";

type WorkerColumns = RowOf<"workers">;

/** A row of `workers`, whose queues are stored as a JSON list. */
export function workerRow(row: WorkerColumns): WorkerRow {
  const queues: unknown = JSON.parse(row.queues);
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    state: row.state,
    process: identityOfColumns(row),
    registeredAt: row.registered_at,
    lastHeardAt: row.last_heard_at,
    endedAt: row.ended_at,
    concurrency: row.concurrency,
    claimSeqReceived: row.claim_seq_received,
    loopLagMs: row.loop_lag_ms,
    queues: Array.isArray(queues) ? queues.map(String) : [],
  };
}

/** What a judge needs of the worker that looks after a run. */
export function supervisorRow(
  row: IdentityColumns & Pick<WorkerColumns, "id" | "state" | "last_heard_at" | "claim_seq_received" | "via">,
): SupervisorRow {
  return {
    workerId: row.id,
    state: row.state,
    process: identityOfColumns(row),
    lastHeardAt: row.last_heard_at,
    claimSeqReceived: row.claim_seq_received,
    via: row.via,
  };
}

type IdentityColumns = Pick<WorkerColumns, "host_id" | "boot_id" | "pid_namespace" | "pid" | "start_time">;

export function identityOfColumns(row: IdentityColumns): SupervisorRow["process"] {
  return { hostId: row.host_id, bootId: row.boot_id, pidNamespace: row.pid_namespace, pid: row.pid, startTime: row.start_time };
}
