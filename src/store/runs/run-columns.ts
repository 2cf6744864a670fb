import type { LiveTable, RunsTable } from "../engine/tables.ts";

/** What both tables have, and the end of a run may change. */
export const changedColumns = ["state", "started_at", "check_at", "exit_code", "slot_key"] as const;

type KeptColumn = Exclude<keyof LiveTable & keyof RunsTable, (typeof changedColumns)[number]>;

/** A record, so that a column which both tables gain cannot be forgotten here. */
const kept: Readonly<Record<KeptColumn, true>> = {
  id: true,
  job_id: true,
  attempt: true,
  owner_epoch: true,
  worker_id: true,
  kind: true,
  claim_seq: true,
  reserved_at: true,
  exited_at: true,
  host_id: true,
  boot_id: true,
  pid_namespace: true,
  pid: true,
  start_time: true,
  wrapper_pid: true,
  wrapper_start_time: true,
  timeout_ms: true,
  heartbeat_timeout_ms: true,
  max_running_ms: true,
  suspended_ms: true,
  progress_at: true,
  progress: true,
  gate_pending_at: true,
};

/** What the end of a run takes from its row in `live` to history as it is. */
export const keptColumns = Object.keys(kept) as readonly KeptColumn[];

/** {@link keptColumns} for a statement; `of`: the name that it has given to `live`. */
export const keptColumnsOf = (of?: string): string =>
  keptColumns.map((column) => (of === undefined ? column : `${of}.${column}`)).join(", ");
