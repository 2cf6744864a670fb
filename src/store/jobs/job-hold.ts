import { type Kysely, sql, type Transaction } from "kysely";
import type { JobId } from "../../domain/ids.ts";
import { jobLifecycle } from "../../domain/lifecycles/job.ts";
import { sourcesOf } from "../../domain/lifecycles/lifecycle.ts";
import type { Instant } from "../../domain/time.ts";
import { type Engine, lockRows } from "../engine/engine.ts";
import type { Database } from "../engine/tables.ts";
import type { HoldAnswer, JobsStore, WaitingJob } from "../port/jobs.ts";
import { appendActions } from "../records/action-log.ts";
import { putOutboxEntry, putStateFile } from "../records/outbox-entries.ts";
import { jobAlertEntry } from "./job-alert.ts";

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
  const job = await lockRows(engine, tx.selectFrom("jobs").selectAll().where("id", "=", jobId)).executeTakeFirst();
  if (job === undefined) return { kind: "refused", why: `there is no job ${jobId}` };
  if (job.state === "held") return { kind: "already" };
  // A plain task has no stage that could vanish: its worker may come at any time.
  if (job.item_id === null) return { kind: "refused", why: `job ${jobId} belongs to no item` };
  const flipped = await tx
    .updateTable("jobs")
    .set({ state: "held", error: message })
    .where("id", "=", jobId)
    .where("state", "in", sourcesOf(jobLifecycle, "hold", "held"))
    .executeTakeFirst();
  if (flipped.numUpdatedRows === 0n) return { kind: "refused", why: `job ${jobId} is ${job.state}` };
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
    .innerJoin("jobs", "jobs.visit_id", "items.visit_id")
    .select(["jobs.id as jobId", "items.id as itemId", "items.pipeline", "items.stage"])
    // Written out like the partial index: a planner matches no bound value with it.
    .where(sql<boolean>`items.state in ('active', 'paused')`)
    // No bare column: a planner would read all items of a pipeline by its key, finished ones included.
    .where((eb) =>
      eb.or(stages.map(({ pipeline, stage }) => sql<boolean>`(items.pipeline || '' = ${pipeline} and items.stage = ${stage})`)),
    )
    .where("jobs.visit_id", "is not", null)
    .where("jobs.state", "in", sourcesOf(jobLifecycle, "hold", "held"))
    .orderBy("items.id")
    .limit(limit);
  if (after !== undefined) query = query.where("items.id", ">", after);
  return await query.execute();
}
