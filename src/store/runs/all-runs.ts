import { type Kysely, sql } from "kysely";
import type { JobId, RunId } from "../../domain/ids.ts";
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

/** One run, live or ended: it moves between the tables, so they are read in one statement. */
export const findRun = (db: Kysely<Database>, id: RunId) => db.selectFrom(allRuns(db).as("run")).where("run.id", "=", id);

/** The runs of a job, oldest first. */
export const runsOfJob = (db: Kysely<Database>, jobId: JobId) =>
  db.selectFrom(allRuns(db).as("run")).where("run.job_id", "=", jobId).orderBy("run.attempt");
