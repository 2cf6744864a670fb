import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { JobState } from "../../domain/lifecycles.ts";
import type { Engine } from "../engine/engine.ts";
import { scheduledJobs } from "../jobs/job-list.ts";
import type { QueueCounts } from "../port/upkeep.ts";

/** Unfinished jobs by queue and state, each part read from the partial index that holds just those. Done by no scan of history. */
export async function queueCounts(engine: Engine): Promise<readonly QueueCounts[]> {
  const { kysely, predicates } = engine;
  const queues = await kysely.selectFrom("queues").select(["id", "name", "paused"]).orderBy("name").execute();
  const n = sql<number>`count(*)`.as("n");
  const countWhere = async (predicate: RawBuilder<SqlBool>) =>
    await kysely.selectFrom("jobs").select(["queue_id", n]).where(predicate).groupBy("queue_id").execute();
  const claimable = await countWhere(predicates.claimable);
  const scheduled = await countWhere(scheduledJobs);
  const held = await countWhere(sql<boolean>`${predicates.ofNote} and jobs.state = 'held'`);
  // Queued and yet not claimable: waiting for the proof that an old run has stopped, or paused.
  const blockedQueued = await countWhere(sql<boolean>`jobs.blocked_by is not null and jobs.state = 'queued'`);
  const pausedQueued = await countWhere(sql<boolean>`${predicates.paused} and jobs.state = 'queued' and jobs.blocked_by is null`);
  const blocked = await countWhere(sql<boolean>`jobs.blocked_by is not null`);
  const running = await kysely
    .selectFrom("runs")
    .innerJoin("jobs", "jobs.id", "runs.job_id")
    .select(["jobs.queue_id", n])
    .where("runs.ended_at", "is", null)
    .groupBy("jobs.queue_id")
    .execute();

  return queues.map((queue) => {
    const states: Partial<Record<JobState, number>> = {};
    const add = (state: JobState, rows: readonly { readonly queue_id: number; readonly n: number }[]): void => {
      for (const row of rows) if (row.queue_id === queue.id) states[state] = (states[state] ?? 0) + row.n;
    };
    add("queued", claimable);
    add("queued", blockedQueued);
    add("queued", pausedQueued);
    add("scheduled", scheduled);
    add("held", held);
    add("running", running);
    return {
      queue: queue.name,
      paused: Boolean(queue.paused),
      states,
      blocked: blocked.find((row) => row.queue_id === queue.id)?.n ?? 0,
    };
  });
}
