import { type Kysely, sql } from "kysely";
import type { Database } from "../engine/tables.ts";

const common = [
  "id",
  "job_id",
  "attempt",
  "state",
  "owner_epoch",
  "worker_id",
  "kind",
  "claim_seq",
  "reserved_at",
  "started_at",
  "exited_at",
  "check_at",
  "host_id",
  "boot_id",
  "pid_namespace",
  "pid",
  "start_time",
  "wrapper_pid",
  "wrapper_start_time",
  "timeout_ms",
  "heartbeat_timeout_ms",
  "max_running_ms",
  "suspended_ms",
  "progress_at",
  "progress",
  "exit_code",
  "gate_pending_at",
  "slot_key",
] as const;
const ofEnd = ["ended_at", "outcome", "reason", "message", "evidence", "spent", "by_session_death"] as const;

/** Live runs and ended ones as one table, of one instant. Conditions on id or job reach the keys of both. */
export function allRuns(db: Kysely<Database>) {
  return db
    .selectFrom("runs")
    .select([...common, ...ofEnd])
    .unionAll(
      db
        .selectFrom("live")
        .select([...common])
        .select([
          sql<null>`null`.as("ended_at"),
          sql<null>`null`.as("outcome"),
          sql<null>`null`.as("reason"),
          sql<null>`null`.as("message"),
          sql<null>`null`.as("evidence"),
          sql<null>`null`.as("spent"),
          sql<boolean>`false`.as("by_session_death"),
        ]),
    );
}
