import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { Engine } from "../engine/engine.ts";
import type { JobRow } from "../port/jobs.ts";
import type { UpkeepStore } from "../port/upkeep.ts";
import { jobRow } from "./job-row.ts";
import { selectJobs } from "./jobs.ts";

/** Written out: a planner matches no bound value with a partial index. */
export const scheduledJobs: RawBuilder<SqlBool> = sql<boolean>`jobs.state = 'scheduled'`;

/**
 * A page of jobs, newest first. Each state is read by the index that holds it, so that a rare one is not searched for in all of history.
 */
export async function listJobs(engine: Engine, options: Parameters<UpkeepStore["listJobs"]>[0]): Promise<readonly JobRow[]> {
  const { kysely, predicates } = engine;
  const queue =
    options.queue === undefined
      ? undefined
      : await kysely.selectFrom("queues").select("id").where("name", "=", options.queue).executeTakeFirst();
  if (options.queue !== undefined && queue === undefined) return [];

  /** One page of one set of jobs. `walk`: the set is most of the table, so its newest are found by going back from the end. */
  const page = async (set: RawBuilder<SqlBool>, { walk }: { readonly walk: boolean }): Promise<readonly JobRow[]> => {
    let newest = kysely
      .selectFrom("jobs")
      .select("jobs.id")
      .where(set)
      // The plus keeps the planner from walking all jobs backwards to save a sort of a few.
      .orderBy(walk ? sql`jobs.id` : sql`+jobs.id`, "desc")
      .limit(options.limit);
    if (queue !== undefined) newest = newest.where("jobs.queue_id", "=", queue.id);
    if (options.before !== undefined) newest = newest.where("jobs.id", "<", options.before);
    const rows = await selectJobs(kysely).where("jobs.id", "in", newest).execute();
    return rows.map(jobRow);
  };

  const sets: readonly { readonly state: string; readonly set: RawBuilder<SqlBool>; readonly walk?: true }[] = [
    { state: "queued", set: predicates.claimable },
    { state: "queued", set: sql<boolean>`${predicates.paused} and jobs.state = 'queued'` },
    { state: "queued", set: sql<boolean>`jobs.blocked_by is not null and jobs.state = 'queued'` },
    { state: "scheduled", set: scheduledJobs },
    { state: "running", set: sql<boolean>`jobs.id in (select runs.job_id from runs where runs.ended_at is null)` },
    { state: "held", set: sql<boolean>`${predicates.ofNote} and jobs.state = 'held'` },
    { state: "failed", set: sql<boolean>`${predicates.ofNote} and jobs.state = 'failed'` },
    { state: "cancelled", set: sql<boolean>`${predicates.ofNote} and jobs.state = 'cancelled'` },
    // Not here: `returned`, which nothing writes yet. The migration that first writes it adds its index and its row (decision 0016).
    { state: "done", set: sql<boolean>`jobs.state = 'done'`, walk: true },
  ];
  const states: readonly string[] | undefined = options.states;
  const pages: (readonly JobRow[])[] = [];
  if (states === undefined) pages.push(await page(sql<boolean>`1 = 1`, { walk: true }));
  else for (const { state, set, walk = false } of sets) if (states.includes(state)) pages.push(await page(set, { walk }));
  // A job that moved between two of these queries may be in both pages: the later row is the newer one.
  const byId = new Map(pages.flat().map((job) => [job.id, job]));
  return [...byId.values()].sort((a, b) => b.id - a.id).slice(0, options.limit);
}
