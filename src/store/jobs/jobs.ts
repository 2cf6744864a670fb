import { type Kysely, sql, type Transaction } from "kysely";
import type { JobId } from "../../domain/ids.ts";
import { type Engine, lockRows } from "../engine/engine.ts";
import type { Database } from "../engine/tables.ts";
import type { JobsStore } from "../port/jobs.ts";
import { appendActions } from "../records/action-log.ts";
import { clearBlock } from "./block.ts";
import { holdJob, listWaiting, listWaitingOn, releaseForHost } from "./job-hold.ts";
import { lockJob } from "./job-lock.ts";
import { jobRow } from "./job-row.ts";
import { columnsOfState, waitingSources } from "./job-state.ts";
import { makeReady } from "./ready.ts";

/** Jobs with the name of their queue and their live run: what {@link jobRow} takes. */
export function selectJobs(db: Kysely<Database>) {
  return db
    .selectFrom("jobs")
    .innerJoin("queues", "queues.id", "jobs.queue_id")
    .leftJoin("live", "live.job_id", "jobs.id")
    .selectAll("jobs")
    .select(["queues.name as queue", "live.id as live_run_id", "live.state as live_run_state"]);
}

export function createJobs(engine: Engine): Omit<JobsStore, "enqueue" | "promoteDue" | "cancel"> {
  const { kysely } = engine;
  return {
    ensureQueues: async (queues) => {
      if (queues.length === 0) return;
      // In the order of their keys, as every writer takes them, so that two programs that start at once cannot block each other.
      const slots = [
        ...new Map(queues.flatMap((queue) => (queue.slot === undefined ? [] : [[queue.slot.key, queue.slot.capacity] as const]))),
      ].toSorted(([a], [b]) => (a < b ? -1 : 1));
      const byName = queues.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      await engine.transaction(async (tx) => {
        for (const [key, capacity] of slots) {
          await tx
            .insertInto("slots")
            .values({ key, capacity })
            .onConflict((conflict) => conflict.column("key").doUpdateSet({ capacity }))
            .execute();
        }
        for (const queue of byName) {
          const values = { kind: queue.kind, slot_key: queue.slot?.key ?? null };
          await tx
            .insertInto("queues")
            .values({ name: queue.name, ...values })
            .onConflict((conflict) => conflict.column("name").doUpdateSet(values))
            .execute();
        }
      });
      engine.hint("jobs");
    },
    get: async (id) => {
      const row = await selectJobs(kysely).where("jobs.id", "=", id).executeTakeFirst();
      return row === undefined ? undefined : jobRow(row);
    },
    hold: async (id, options) => {
      const answer = await engine.transaction(async (tx) => await holdJob(engine, tx, { jobId: id, now: engine.now(), ...options }));
      if (answer.kind === "held") engine.hint("items", "outbox");
      return answer;
    },
    listWaiting: async (options) => await listWaiting(kysely, options),
    listWaitingOn: async (options) => await listWaitingOn(kysely, options),
    releaseForHost: async (options) => await releaseForHost(engine, options),
    listQueues: async () => {
      const rows = await kysely.selectFrom("queues").select("name").orderBy("name").execute();
      return rows.map((row) => row.name);
    },
    unhold: async (id, options) => {
      const won = await engine.transaction(async (tx) => await unhold(engine, tx, { id, ...options }));
      if (won) engine.hint("jobs");
      return won;
    },
    retry: async (id, options) => {
      const jobId = await engine.transaction(async (tx) => await retry(engine, tx, { id, ...options }));
      if (jobId !== undefined) engine.hint("jobs");
      return jobId;
    },
  };
}

/** Undefined: there is no such job, it has not ended, or its item decides. */
async function retry(
  engine: Engine,
  tx: Transaction<Database>,
  { id, actor }: { readonly id: JobId; readonly actor: string },
): Promise<JobId | undefined> {
  const now = engine.now();
  const old = await lockRows(engine, tx.selectFrom("jobs").selectAll().where("id", "=", id)).executeTakeFirst();
  if (old === undefined || old.finished_at === null || old.item_id !== null) return undefined;
  const job = await tx
    .insertInto("jobs")
    .values({
      queue_id: old.queue_id,
      ...columnsOfState("queued", { runAt: now, visitId: null }),
      priority: old.priority,
      run_at: now,
      created_at: now,
      max_attempts: old.max_attempts,
      max_losses: old.max_losses,
      // The old run may still be at the same work: the new job waits for the proof that it has stopped.
      blocked_by: old.blocked_by,
      stop_by: old.stop_by,
      agent: old.agent,
      repo: old.repo,
      payload: old.payload,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  await makeReady(tx, [job.id]);
  await appendActions(tx, now, [{ action: "job.retried", actor: actor, message: `again as job ${job.id}`, jobId: id }]);
  return job.id;
}

async function unhold(
  engine: Engine,
  tx: Transaction<Database>,
  options: { readonly id: JobId; readonly actor: string; readonly force: boolean },
): Promise<boolean> {
  const { id, actor, force } = options;
  const now = engine.now();
  const job = (await lockJob(engine, tx, id))?.job;
  if (job === undefined) return false;
  const flipped = await tx
    .updateTable("jobs")
    .set({ ...columnsOfState("queued", { runAt: now, visitId: job.visit_id }), run_at: now, max_attempts: sql<number>`max_attempts + 1` })
    .where("id", "=", id)
    .where("state", "in", waitingSources("unhold", "queued"))
    .executeTakeFirst();
  const unheld = flipped.numUpdatedRows > 0n;
  const unblocks = force && job.blocked_by !== null;
  if (!unheld && !unblocks) return false;
  if (force && job.blocked_by !== null) await clearBlock(tx, job.blocked_by);
  else await makeReady(tx, [id]);
  if (unheld && job.visit_id !== null) {
    await tx.updateTable("visits").set({ max_attempts: sql<number>`max_attempts + 1` }).where("id", "=", job.visit_id).execute();
  }
  await appendActions(tx, now, [
    {
      action: "job.unheld",
      actor,
      reason: unblocks ? "forced" : "unheld",
      message: unblocks ? `no longer waits for the proof that run ${job.blocked_by} has stopped` : "one attempt more",
      jobId: id,
      runId: unblocks ? job.blocked_by : null,
      itemId: job.item_id,
    },
  ]);
  return true;
}
