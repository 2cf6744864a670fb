import { sql } from "kysely";
import type { JobState } from "../domain/lifecycles.ts";
import type { Engine } from "./engine.ts";
import type { QueueCounts } from "./port/upkeep.ts";

/** Unfinished jobs by queue and state, each part read from the partial index that holds just those. Done by no scan of history. */
export async function queueCounts(engine: Engine): Promise<readonly QueueCounts[]> {
  const { kysely, predicates } = engine;
  const queues = await kysely.selectFrom("queues").select(["id", "name", "paused"]).orderBy("name").execute();
  const n = sql<number>`count(*)`.as("n");
  const claimable = await kysely.selectFrom("jobs").select(["queue_id", n]).where(predicates.claimable).groupBy("queue_id").execute();
  const waiting = await kysely
    .selectFrom("jobs")
    .select(["queue_id", "state", n])
    .where(predicates.waiting)
    .groupBy(["queue_id", "state"])
    .execute();
  const running = await kysely
    .selectFrom("runs")
    .innerJoin("jobs", "jobs.id", "runs.job_id")
    .select(["jobs.queue_id", n])
    .where("runs.ended_at", "is", null)
    .groupBy("jobs.queue_id")
    .execute();
  const blocked = await kysely.selectFrom("jobs").select(["queue_id", n]).where("blocked_by", "is not", null).groupBy("queue_id").execute();

  return queues.map((queue) => {
    const states: Partial<Record<JobState, number>> = {};
    const add = (state: JobState, rows: readonly { readonly queue_id: number; readonly n: number }[]): void => {
      for (const row of rows) if (row.queue_id === queue.id) states[state] = (states[state] ?? 0) + row.n;
    };
    add("queued", claimable);
    for (const row of waiting) add(row.state, [row]);
    add("running", running);
    return {
      queue: queue.name,
      paused: Boolean(queue.paused),
      states,
      blocked: blocked.find((row) => row.queue_id === queue.id)?.n ?? 0,
    };
  });
}
