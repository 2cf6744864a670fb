import { type Kysely, sql, type Transaction } from "kysely";
import type { JobId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { Database } from "../engine/tables.ts";
import type { HoldAnswer, JobsStore, WaitingJob } from "../port/jobs.ts";
import { appendActions } from "../records/action-log.ts";
import { putOutboxEntry, putStateFile } from "../records/outbox-entries.ts";
import { jobAlertEntry } from "./job-alert.ts";
import { lockJob } from "./job-lock.ts";
import { columnsOfState, waitingSources } from "./job-state.ts";
import { removeFromReady } from "./ready.ts";

export interface HoldJob {
  readonly jobId: JobId;
  readonly actor: string;
  readonly reason: string;
  readonly message: string;
  readonly now: Instant;
}

/**
 * Holds a waiting job of an item for a person and puts the alert, in the caller's transaction. A block stays: only the proof that the
 * blocking run has stopped gives back its slot and leases.
 */
export async function holdJob(engine: Engine, tx: Transaction<Database>, options: HoldJob): Promise<HoldAnswer> {
  const { jobId, actor, reason, message, now } = options;
  const locked = await lockJob(engine, tx, jobId);
  if (locked === undefined) return { kind: "refused", why: `there is no job ${jobId}` };
  const { job, live } = locked;
  if (job.state === "held") return { kind: "already" };
  // A plain task has no stage that could vanish: its worker may come at any time.
  if (job.item_id === null) return { kind: "refused", why: `job ${jobId} belongs to no item` };
  if (live !== undefined) return { kind: "refused", why: `job ${jobId} is running` };
  const flipped = await tx
    .updateTable("jobs")
    .set({ ...columnsOfState("held", { runAt: job.run_at, visitId: job.visit_id }), error: message })
    .where("id", "=", jobId)
    .where("state", "in", waitingSources("hold", "held"))
    .executeTakeFirst();
  if (flipped.numUpdatedRows === 0n) return { kind: "refused", why: `job ${jobId} is ${job.state}` };
  await removeFromReady(tx, job);
  const queue = await tx.selectFrom("queues").select("name").where("id", "=", job.queue_id).executeTakeFirstOrThrow();
  const last = await tx.selectFrom("runs").select("id").where("job_id", "=", jobId).orderBy("attempt", "desc").limit(1).executeTakeFirst();
  const { item_id: itemId, agent, repo } = job;
  const runId = last?.id ?? null;
  const alert = jobAlertEntry({ jobId, runId, state: "held", queue: queue.name, itemId, agent, repo, reason, message }, now);
  await putOutboxEntry(tx, now, { kind: "alert", ...alert });
  await putStateFile(tx, now, itemId);
  await appendActions(tx, now, [{ action: "job.held", actor, reason, message, jobId, runId, itemId }]);
  return { kind: "held" };
}

/** Starts from the unfinished items, which are few and have an index; no index of jobs leads from a queue to all that wait. */
export async function listWaiting(
  kysely: Kysely<Database>,
  { stages, limit, after }: Parameters<JobsStore["listWaiting"]>[0],
): Promise<readonly WaitingJob[]> {
  if (stages.length === 0) return [];
  let query = kysely
    .selectFrom("items")
    .innerJoin("jobs", "jobs.open_visit_id", "items.visit_id")
    .select(["jobs.id as jobId", "items.id as itemId", "items.pipeline", "items.stage"])
    // Written out like the partial index: a planner matches no bound value with it.
    .where(sql<boolean>`items.state in ('active', 'paused')`)
    // No bare column: a planner would read all items of a pipeline by its key, finished ones included.
    .where((eb) =>
      eb.or(stages.map(({ pipeline, stage }) => sql<boolean>`(items.pipeline || '' = ${pipeline} and items.stage = ${stage})`)),
    )
    .where("jobs.open_visit_id", "is not", null)
    .where("jobs.state", "in", waitingSources("hold", "held"))
    .where((eb) => eb.not(eb.exists(eb.selectFrom("live").select("live.id").whereRef("live.job_id", "=", "jobs.id"))))
    .orderBy("items.id")
    .limit(limit);
  if (after !== undefined) query = query.where("items.id", ">", after);
  return await query.execute();
}
