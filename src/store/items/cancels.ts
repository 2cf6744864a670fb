import type { Transaction } from "kysely";
import type { ItemId, JobId, RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { Database } from "../engine/tables.ts";
import { lockJob } from "../jobs/job-lock.ts";
import { columnsOfState, waitingSources } from "../jobs/job-state.ts";
import { removeFromReady } from "../jobs/ready.ts";
import type { ItemsStore } from "../port/items.ts";
import type { JobsStore } from "../port/jobs.ts";
import type { Cancelled } from "../port/runs.ts";
import { appendActions } from "../records/action-log.ts";
import { planSettlement } from "../runs/settle-plan.ts";
import { cancelItem, itemHints } from "./item-advance.ts";
import { lockItem, unfinishedJobOf } from "./item-moves.ts";
import type { RunEndWriter } from "./settle-items.ts";

/** How often a cancel looks again for the item's job, which may end and be followed by another meanwhile. */
const looksMax = 5;

interface Cancel {
  readonly actor: string;
  readonly reason: string;
  /** By when the run's process should have stopped; past it the stopper raises an alert. */
  readonly stopBy: Instant;
  readonly now: Instant;
}

/** What a person ends, a job or an item: its run ends by the plan of every other end. */
export function createCancels(
  engine: Engine,
  writer: RunEndWriter,
): { readonly jobs: Pick<JobsStore, "cancel">; readonly items: Pick<ItemsStore, "cancel"> } {
  const ended = (cancelled: Cancelled | undefined): Cancelled | undefined => {
    if (cancelled !== undefined) engine.hint("blocked", ...itemHints);
    return cancelled;
  };
  return {
    jobs: {
      cancel: async (id, options) =>
        ended(await engine.transaction(async (tx) => await cancelJob(engine, writer, tx, id, { ...options, now: engine.now() }))),
    },
    items: {
      cancel: async (id, options) =>
        ended(await engine.transaction(async (tx) => await cancelWhole(engine, writer, tx, id, { ...options, now: engine.now() }))),
    },
  };
}

/**
 * Ends an unfinished job with its run, visit and item in one transaction. A live run's process still has to be stopped: it blocks the job
 * and keeps slot and leases. Undefined: the job is final, and nothing changes.
 */
async function cancelJob(
  engine: Engine,
  writer: RunEndWriter,
  tx: Transaction<Database>,
  jobId: JobId,
  options: Cancel,
): Promise<Cancelled | undefined> {
  const { now, reason, actor } = options;
  const locked = await lockJob(engine, tx, jobId);
  if (locked === undefined || locked.job.finished_at !== null) return undefined;
  const { job, live } = locked;
  const { item_id: itemId, visit_id: visitId } = job;
  const run = live === undefined ? undefined : await cancelRun(writer, tx, { runId: live.id, jobId }, options);
  const error = run === undefined ? `cancelled: ${reason}` : `cancelled: ${reason} (run ${run.runId})`;
  if (run === undefined) {
    const flipped = await tx
      .updateTable("jobs")
      .set({ ...columnsOfState("cancelled", { runAt: job.run_at, visitId }), finished_at: now, error })
      .where("id", "=", jobId)
      .where("state", "in", waitingSources("cancel", "cancelled"))
      .executeTakeFirst();
    if (flipped.numUpdatedRows === 0n) return undefined;
    await removeFromReady(tx, job);
  }
  const item = itemId === null || visitId === null ? undefined : await cancelItem(tx, { itemId, visitId, error, now });
  await appendActions(tx, now, [{ action: "job.cancelled", actor, reason, message: error, jobId, runId: live?.id ?? null, itemId }]);
  return { run, item };
}

async function cancelRun(
  writer: RunEndWriter,
  tx: Transaction<Database>,
  { runId, jobId }: { readonly runId: RunId; readonly jobId: JobId },
  { reason, stopBy, now }: Cancel,
): Promise<Required<Cancelled>["run"]> {
  const facts = await writer.facts(tx, runId);
  // Its rows are locked and it is live, so that its own fence lets it end.
  if (facts === undefined) throw new Error(`run ${runId} of job ${jobId} was live a moment ago and is not there`);
  const { ownerEpoch, queue } = facts;
  const end = { outcome: "cancelled", reason: "cancelled", message: `cancelled: ${reason}`, stopBy, retry: { jitter: 0 } } as const;
  const plan = planSettlement({ runId, jobId, ownerEpoch, ...end }, facts, now);
  if (plan.kind !== "end") throw new Error(`run ${runId} of job ${jobId} was live a moment ago and could not be ended`);
  // The cancelling of the job explains the end of its run too.
  await writer.write(tx, { ...plan.end, actor: null }, facts, now);
  return { runId, jobId, queue };
}

async function cancelWhole(
  engine: Engine,
  writer: RunEndWriter,
  tx: Transaction<Database>,
  id: ItemId,
  options: Cancel,
): Promise<Cancelled | undefined> {
  const { actor, reason, now } = options;
  for (let look = 0; look < looksMax; look += 1) {
    // The job first, as a settler locks it; the item's own flip is part of the job's.
    const jobId = await unfinishedJobOf(tx, id);
    if (jobId === undefined) break;
    const cancelled = await cancelJob(engine, writer, tx, jobId, options);
    if (cancelled !== undefined) return cancelled;
  }
  const locked = await lockItem(engine, tx, id);
  if (locked?.visit === undefined || locked.item.finished_at !== null || locked.job !== undefined) return undefined;
  const error = `cancelled: ${reason}`;
  const item = await cancelItem(tx, { itemId: id, visitId: locked.visit.id, error, now });
  if (item === undefined) return undefined;
  await appendActions(tx, now, [{ action: "item.ended", actor, reason, message: error, itemId: id }]);
  return { item };
}
