import { sql, type Transaction } from "kysely";
import type { ItemId, JobId, VisitId } from "../../domain/ids.ts";
import { jobLifecycle } from "../../domain/lifecycles/job.ts";
import { sourcesOf } from "../../domain/lifecycles/lifecycle.ts";
import type { Instant } from "../../domain/time.ts";
import { type Engine, lockRows } from "../engine/engine.ts";
import type { Database } from "../engine/tables.ts";
import type { Cancelled, ItemStep } from "../port/runs.ts";
import { appendActions } from "../records/action-log.ts";

/** Ends the item of a job that is cancelled, and the item's visit; what items are is not this room's to know. */
export type CancelItem = (
  tx: Transaction<Database>,
  options: { readonly itemId: ItemId; readonly visitId: VisitId; readonly error: string; readonly now: Instant },
) => Promise<ItemStep | undefined>;

export interface CancelJob {
  readonly jobId: JobId;
  readonly actor: string;
  readonly reason: string;
  /** By when the run's process should have stopped; past it the stopper raises an alert. */
  readonly stopBy: Instant;
  readonly now: Instant;
  readonly cancelItem: CancelItem;
}

/**
 * Ends an unfinished job, its run, its visit and its item, in one transaction. A live run's process still has to be stopped, so the
 * job is blocked by it, and its slot and leases stay taken. Answers nothing, changing nothing, when the job is final.
 */
export async function cancelJob(engine: Engine, tx: Transaction<Database>, options: CancelJob): Promise<Cancelled | undefined> {
  const { jobId, now, reason, actor } = options;
  const job = await lockRows(engine, tx.selectFrom("jobs").selectAll().where("id", "=", jobId)).executeTakeFirst();
  if (job === undefined || job.finished_at !== null) return undefined;
  const runId = job.current_run_id;
  const error = runId === null ? `cancelled: ${reason}` : `cancelled: ${reason} (run ${runId})`;
  const flipped = await tx
    .updateTable("jobs")
    .set({
      state: "cancelled",
      finished_at: now,
      current_run_id: null,
      current_epoch: null,
      error,
      ...(runId === null ? {} : { blocked_by: runId, stop_by: options.stopBy }),
    })
    .where("id", "=", jobId)
    .where("state", "in", sourcesOf(jobLifecycle, "cancel", "cancelled"))
    .executeTakeFirst();
  if (flipped.numUpdatedRows === 0n) return undefined;
  if (runId !== null) {
    const run = await tx.selectFrom("runs").select("state").where("id", "=", runId).executeTakeFirst();
    if (run?.state === "started" || run?.state === "exited") await giveBackAttempt(tx, job);
    await tx
      .updateTable("runs")
      .set({
        state: "ended",
        ended_at: now,
        outcome: "cancelled",
        reason: "cancelled",
        message: error,
        spent: "nothing",
      })
      .where("id", "=", runId)
      .where("state", "<>", "ended")
      .execute();
  }
  const item =
    job.item_id === null || job.visit_id === null
      ? undefined
      : await options.cancelItem(tx, { itemId: job.item_id, visitId: job.visit_id, error, now });
  await appendActions(tx, now, [{ action: "job.cancelled", actor, reason, message: error, jobId, runId, itemId: job.item_id }]);
  if (runId === null) return { item };
  const { name: queue } = await tx.selectFrom("queues").select("name").where("id", "=", job.queue_id).executeTakeFirstOrThrow();
  return { run: { runId, jobId, queue }, item };
}

/** Cancelling spends nothing: the attempt that was counted at the run's start is taken off again, of the visit's budget too. */
async function giveBackAttempt(
  tx: Transaction<Database>,
  job: { readonly id: JobId; readonly visit_id: VisitId | null; readonly attempts: number },
): Promise<void> {
  if (job.attempts > 0)
    await tx
      .updateTable("jobs")
      .set({ attempts: job.attempts - 1 })
      .where("id", "=", job.id)
      .execute();
  if (job.visit_id === null) return;
  await tx
    .updateTable("visits")
    .set({ attempts: sql<number>`attempts - 1` })
    .where("id", "=", job.visit_id)
    .where("attempts", ">", 0)
    .execute();
}
