import type { Transaction } from "kysely";
import type { JobId } from "../../domain/ids.ts";
import { BeginAgain, type Engine, lockRows } from "../engine/engine.ts";
import type { Database, RowOf } from "../engine/tables.ts";
import { lockReady } from "./ready.ts";

export interface LockedJob {
  readonly job: RowOf<"jobs">;
  /** Its live run. */
  readonly live: RowOf<"live"> | undefined;
}

/**
 * Locks a job, its live run and its place in `ready`, in the order of every writer: live runs before jobs. Afterwards no claim takes the
 * job and no settlement ends its run.
 */
export async function lockJob(engine: Engine, tx: Transaction<Database>, id: JobId): Promise<LockedJob | undefined> {
  const live = await lockRows(engine, tx.selectFrom("live").selectAll().where("job_id", "=", id)).executeTakeFirst();
  const job = await lockRows(engine, tx.selectFrom("jobs").selectAll().where("id", "=", id)).executeTakeFirst();
  if (job === undefined) return undefined;
  if (engine.capabilities.rowLocks && live === undefined && job.state === "queued") await settleWithClaims(tx, job);
  return { job, live };
}

/** A claim locks the job's place in `ready` and nothing else of it: one that is under way is waited for, and has then made a live run. */
async function settleWithClaims(tx: Transaction<Database>, job: RowOf<"jobs">): Promise<void> {
  await lockReady(tx, job);
  const claimed = await tx.selectFrom("live").select("id").where("job_id", "=", job.id).executeTakeFirst();
  if (claimed !== undefined) throw new BeginAgain(`job ${job.id} was claimed`);
}
