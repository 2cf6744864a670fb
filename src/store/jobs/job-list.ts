import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { JobId } from "../../domain/ids.ts";
import type { JobState } from "../../domain/lifecycles/job.ts";
import type { Engine } from "../engine/engine.ts";
import type { JobRow } from "../port/jobs.ts";
import type { UpkeepStore } from "../port/upkeep.ts";
import { jobRow } from "./job-row.ts";
import { selectJobs } from "./jobs.ts";

/** Those of one state or condition, each as the partial index of its column holds it. Written out: a planner matches no bound value with one. */
export const scheduledJobs: RawBuilder<SqlBool> = sql<boolean>`jobs.scheduled_at is not null`;
export const heldJobs: RawBuilder<SqlBool> = sql<boolean>`jobs.note = 'held'`;
/** Its stored state alone does not say that a job waits: it stays queued while it has a live run. */
const waitsQueued = sql<boolean>`jobs.state = 'queued' and not exists (select 1 from live where live.job_id = jobs.id)`;
/** Queued and yet not claimable: a block's proof is missing. Nothing of a running job is blocked. */
export const blockedQueued: RawBuilder<SqlBool> = sql<boolean>`jobs.blocked_by is not null and jobs.state = 'queued'`;
export const pausedQueued = ({ predicates }: Pick<Engine, "predicates">): RawBuilder<SqlBool> =>
  sql<boolean>`${predicates.paused} and ${waitsQueued}`;

/** Jobs that are found in one place. */
interface JobSet {
  readonly state: JobState;
  readonly from: RawBuilder<unknown>;
  readonly id: RawBuilder<JobId>;
  readonly queueId: RawBuilder<number>;
  readonly where: RawBuilder<SqlBool>;
  /** The newest are found by going back from the end of the key: the set is most of its table, or all of it. */
  readonly walk: boolean;
}

const ofJobs = (state: JobState, where: RawBuilder<SqlBool>, { walk = false }: { readonly walk?: boolean } = {}): JobSet => ({
  state,
  from: sql`jobs`,
  id: sql`jobs.id`,
  queueId: sql`jobs.queue_id`,
  where,
  walk,
});

const everyRow = sql<boolean>`1 = 1`;
const claimable: JobSet = {
  state: "queued",
  from: sql`ready`,
  id: sql`ready.job_id`,
  queueId: sql`ready.queue_id`,
  where: everyRow,
  walk: false,
};
const claimableOnHost: JobSet = {
  ...claimable,
  from: sql`ready_on_host`,
  id: sql`ready_on_host.job_id`,
  queueId: sql`ready_on_host.queue_id`,
};
const running: JobSet = {
  state: "running",
  from: sql`live`,
  id: sql`live.job_id`,
  queueId: sql`(select jobs.queue_id from jobs where jobs.id = live.job_id)`,
  where: everyRow,
  walk: true,
};

const setsOf = (engine: Pick<Engine, "predicates">): readonly JobSet[] => [
  claimable,
  claimableOnHost,
  ofJobs("queued", pausedQueued(engine)),
  ofJobs("queued", blockedQueued),
  ofJobs("scheduled", scheduledJobs),
  running,
  ofJobs("held", heldJobs),
  ofJobs("failed", sql<boolean>`jobs.note = 'failed'`),
  ofJobs("cancelled", sql<boolean>`jobs.note = 'cancelled'`),
  // Not here: `returned`, which nothing writes yet. The migration that first writes it adds its index and its row (decision 0016).
  ofJobs("done", sql<boolean>`jobs.state = 'done'`, { walk: true }),
];

/**
 * A page of jobs, newest first. Each state is read where just its jobs are, so that a rare one is not searched for in all of history.
 */
export async function listJobs(engine: Engine, options: Parameters<UpkeepStore["listJobs"]>[0]): Promise<readonly JobRow[]> {
  const { kysely } = engine;
  const { before, limit } = options;
  const queue =
    options.queue === undefined
      ? undefined
      : await kysely.selectFrom("queues").select("id").where("name", "=", options.queue).executeTakeFirst();
  if (options.queue !== undefined && queue === undefined) return [];

  const page = async ({ from, id, queueId, where, walk }: JobSet): Promise<readonly JobRow[]> => {
    const ofQueue = queue === undefined ? sql`` : sql`and ${queueId} = ${queue.id}`;
    const older = before === undefined ? sql`` : sql`and ${id} < ${before}`;
    // The plus keeps the planner from walking a whole key backwards to save a sort of a few.
    const newest = sql<JobId>`(select ${id} from ${from} where ${where} ${ofQueue} ${older} order by ${walk ? id : sql`+${id}`} desc limit ${limit})`;
    const rows = await selectJobs(kysely).where("jobs.id", "in", newest).execute();
    return rows.map(jobRow);
  };

  const { states } = options;
  const sets =
    states === undefined ? [ofJobs("done", everyRow, { walk: true })] : setsOf(engine).filter(({ state }) => states.includes(state));
  const pages: (readonly JobRow[])[] = [];
  for (const set of sets) pages.push(await page(set));
  // A job that moved between two of these queries may be in both pages: the later row is the newer one.
  const byId = new Map(pages.flat().map((job) => [job.id, job]));
  return [...byId.values()].sort((a, b) => b.id - a.id).slice(0, limit);
}
