import { type Kysely, sql, type Transaction } from "kysely";
import type { ItemId, JobId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { Database, RowOf } from "../engine/tables.ts";
import type { HoldAnswer, JobsStore, WaitingJob } from "../port/jobs.ts";
import { appendActions } from "../records/action-log.ts";
import { putOutboxEntry, putStateFile } from "../records/outbox-entries.ts";
import { jobAlertEntry } from "./job-alert.ts";
import { lockJob } from "./job-lock.ts";
import { columnsOfState, waitingSources } from "./job-state.ts";
import { makeReady, removeFromReady } from "./ready.ts";

/** Why a job is held whose host is lost: it is queued again when that host comes back, or when its item is moved. */
export const hostLost = "host_lost";

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
  // One alert tells of a lost host, and not one for each job.
  if (reason !== hostLost) await putOutboxEntry(tx, now, { kind: "alert", ...alert });
  await putStateFile(tx, now, itemId);
  await appendActions(tx, now, [{ action: "job.held", actor, reason, message, jobId, runId, itemId }]);
  return { kind: "held" };
}

/** Queues a held job again, in the caller's transaction, if it was held because its host was lost. Answers whether it was. */
export async function releaseHeldForHost(
  tx: Transaction<Database>,
  job: RowOf<"jobs">,
  { actor, now }: { readonly actor: string; readonly now: Instant },
): Promise<boolean> {
  if (job.state !== "held") return false;
  const last = await tx
    .selectFrom("action_logs")
    .select("reason")
    .where("job_id", "=", job.id)
    .where("action", "=", "job.held")
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  if (last?.reason !== hostLost) return false;
  await tx
    .updateTable("jobs")
    .set({ ...columnsOfState("queued", { runAt: now, visitId: job.visit_id }), run_at: now, error: null })
    .where("id", "=", job.id)
    .where("state", "=", "held")
    .execute();
  await makeReady(tx, [job.id]);
  await appendActions(tx, now, [{ action: "job.unheld", actor, reason: "host_is_back", jobId: job.id, itemId: job.item_id }]);
  return true;
}

/** Queues again what was held because this host was lost. Answers the jobs. */
export async function releaseForHost(
  engine: Engine,
  { hostId, limit, actor }: Parameters<JobsStore["releaseForHost"]>[0],
): Promise<readonly JobId[]> {
  const held = await engine.kysely
    .selectFrom("jobs")
    .select("id")
    .where(sql<boolean>`jobs.note = 'held'`)
    .where("host_id", "=", hostId)
    .where(
      sql<string>`(select reason from action_logs where job_id = jobs.id and action = 'job.held' order by id desc limit 1)`,
      "=",
      hostLost,
    )
    .orderBy("id")
    .limit(limit)
    .execute();
  const released: JobId[] = [];
  for (const { id } of held) {
    const won = await engine.transaction(async (tx) => {
      const locked = await lockJob(engine, tx, id);
      if (locked?.job.host_id !== hostId || locked.job.item_id === null) return false;
      if (!(await releaseHeldForHost(tx, locked.job, { actor, now: engine.now() }))) return false;
      await putStateFile(tx, engine.now(), locked.job.item_id);
      return true;
    });
    if (won) released.push(id);
  }
  if (released.length > 0) engine.hint("jobs", "items", "outbox");
  return released;
}

/** Of unfinished items of one host, by the index of what is unfinished. */
export async function listWaitingOn(
  kysely: Kysely<Database>,
  { hostId, limit, after }: Parameters<JobsStore["listWaitingOn"]>[0],
): Promise<readonly WaitingJob[]> {
  return await waitingJobs(kysely, limit)
    .where("items.host_id", "=", hostId)
    .where("items.id", ">", after ?? (0 as ItemId))
    .execute();
}

function waitingJobs(kysely: Kysely<Database>, limit: number) {
  return (
    kysely
      .selectFrom("items")
      .innerJoin("jobs", "jobs.open_visit_id", "items.visit_id")
      .select(["jobs.id as jobId", "items.id as itemId", "items.pipeline", "items.stage"])
      // Written out like the partial index: a planner matches no bound value with it.
      .where(sql<boolean>`items.state in ('active', 'paused')`)
      .where("jobs.open_visit_id", "is not", null)
      .where("jobs.state", "in", waitingSources("hold", "held"))
      .where((eb) => eb.not(eb.exists(eb.selectFrom("live").select("live.id").whereRef("live.job_id", "=", "jobs.id"))))
      .orderBy("items.id")
      .limit(limit)
  );
}

/** Starts from the unfinished items, which are few and have an index; no index of jobs leads from a queue to all that wait. */
export async function listWaiting(
  kysely: Kysely<Database>,
  { stages, limit, after }: Parameters<JobsStore["listWaiting"]>[0],
): Promise<readonly WaitingJob[]> {
  if (stages.length === 0) return [];
  let query = waitingJobs(kysely, limit)
    // No bare column: a planner would read all items of a pipeline by its key, finished ones included.
    .where((eb) =>
      eb.or(stages.map(({ pipeline, stage }) => sql<boolean>`(items.pipeline || '' = ${pipeline} and items.stage = ${stage})`)),
    );
  if (after !== undefined) query = query.where("items.id", ">", after);
  return await query.execute();
}
