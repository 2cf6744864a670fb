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
  const scheduled = await kysely.selectFrom("jobs").select(["queue_id", n]).where("state", "=", "scheduled").groupBy("queue_id").execute();
  const held = await kysely
    .selectFrom("jobs")
    .select(["queue_id", n])
    .where(predicates.ofNote)
    .where("state", "=", "held")
    .groupBy("queue_id")
    .execute();
  // Queued and yet not claimable: paused, or waiting for the proof that an old run has stopped.
  const parked = await kysely
    .selectFrom("jobs")
    .select(["queue_id", n])
    .where("id", "in", (eb) =>
      eb
        .selectFrom("jobs")
        .select("id")
        .where(predicates.paused)
        .where("state", "=", "queued")
        .union(eb.selectFrom("jobs").select("id").where("blocked_by", "is not", null).where("state", "=", "queued")),
    )
    .groupBy("queue_id")
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
    add("queued", parked);
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
