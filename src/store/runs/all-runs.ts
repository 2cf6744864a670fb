import { type Kysely, sql } from "kysely";
import type { JobId, RunId } from "../../domain/ids.ts";
import type { Database } from "../engine/tables.ts";
import { changedColumns, keptColumns } from "./run-columns.ts";

const common = [...keptColumns, ...changedColumns];
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
