import { type Kysely, sql, type Transaction } from "kysely";
import type { HostId, ItemId, JobId, WorkerId } from "../../domain/ids.ts";
import { isFinal, statesOf } from "../../domain/lifecycles/lifecycle.ts";
import { workerLifecycle } from "../../domain/lifecycles/worker.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { Database } from "../engine/tables.ts";
import type { PruneWalk, UpkeepStore } from "../port/upkeep.ts";

type Pruned = Awaited<ReturnType<UpkeepStore["prune"]>>;

/** Most jobs that one page looks at: rows that stay cost no more than this, however many they are. */
const looksMax = 2000;

/**
 * One page of retention in one transaction, at most `limit` rows of each kind. Jobs of items go with their item: the reconciler judges an
 * unfinished item by its last job. Blocked rows stay: their run is being stopped.
 */
export async function prune(engine: Engine, options: Parameters<UpkeepStore["prune"]>[0]): Promise<Pruned> {
  return await engine.transaction(async (tx) => {
    const { jobs, walk } = await plainJobs(tx, options);
    const items = await finishedItems(tx, options);
    const itemIds = items.map((item) => item.id);
    const itemJobs = itemIds.length === 0 ? [] : await tx.selectFrom("jobs").select("id").where("item_id", "in", itemIds).execute();
    const runs = await deleteJobs(tx, [...jobs, ...itemJobs.map((job) => job.id)]);
    if (itemIds.length > 0) await tx.deleteFrom("items").where("id", "in", itemIds).execute(); // visits cascade
    const workers = await endedWorkers(tx, options);
    const actions = await oldActions(tx, options);
    return {
      jobs: jobs.length + itemJobs.length,
      items: items.map(({ dir }) => ({ dir })),
      runs,
      walk,
      more: walk !== "over" || [items, workers, actions].some((page) => page.length >= options.limit),
    };
  });
}

interface Page {
  readonly hostId: HostId;
  readonly finishedBefore: Instant;
  readonly limit: number;
}

/**
 * The next of the walk over the jobs by their key: each end of a run would write an index of finished ones. Higher ids are younger, so a
 * page of jobs that are all too young ends it.
 */
async function plainJobs(
  tx: Kysely<Database>,
  { finishedBefore, limit, walk = 0 as JobId }: Page & { readonly walk?: PruneWalk | undefined },
): Promise<{ readonly jobs: readonly JobId[]; readonly walk: PruneWalk }> {
  if (walk === "over") return { jobs: [], walk };
  const next = tx.selectFrom("jobs").select(["id", "created_at"]).where("id", ">", walk).orderBy("id").limit(looksMax).as("next");
  const looked = await tx
    .selectFrom(next)
    .select([sql<number>`count(*)`.as("count"), sql<JobId | null>`max(id)`.as("last"), sql<Instant | null>`min(created_at)`.as("oldest")])
    .executeTakeFirstOrThrow();
  const { last, oldest } = looked;
  if (last === null || oldest === null || oldest >= finishedBefore) return { jobs: [], walk: "over" };
  const rows = await tx
    .selectFrom("jobs")
    .select("id")
    .where("id", ">", walk)
    .where("id", "<=", last)
    .where("finished_at", "<", finishedBefore)
    .where("item_id", "is", null)
    .where("blocked_by", "is", null)
    .orderBy("id")
    .limit(limit)
    .execute();
  const jobs = rows.map((row) => row.id);
  // A full page may have left others behind its last job.
  if (jobs.length >= limit) return { jobs, walk: jobs.at(-1) ?? walk };
  return { jobs, walk: looked.count < looksMax ? "over" : last };
}

async function finishedItems(
  tx: Kysely<Database>,
  { finishedBefore, limit, hostId }: Page,
): Promise<readonly { readonly id: ItemId; readonly dir: string }[]> {
  return await tx
    .selectFrom("items")
    .select(["id", "dir"])
    .where("finished_at", "is not", null)
    .where("finished_at", "<", finishedBefore)
    // Not before their directories, which the host that holds them removes; unless it has not been heard of for as long.
    .where((eb) =>
      eb.or([
        eb("host_id", "is", null),
        eb("host_id", "=", hostId),
        eb.not(
          eb.exists(
            eb
              .selectFrom("daemons")
              .select("daemons.host_id")
              .whereRef("daemons.host_id", "=", "items.host_id")
              .where("daemons.heard_at", ">=", finishedBefore),
          ),
        ),
      ]),
    )
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom("jobs")
            .select("jobs.id")
            .whereRef("jobs.item_id", "=", "items.id")
            .where((job) => job.or([job("jobs.blocked_by", "is not", null), job("jobs.finished_at", "is", null)])),
        ),
      ),
    )
    .orderBy("finished_at")
    .limit(limit)
    .execute();
}

async function deleteJobs(tx: Kysely<Database>, jobIds: readonly JobId[]): Promise<readonly number[]> {
  if (jobIds.length === 0) return [];
  const runs = await tx.deleteFrom("runs").where("job_id", "in", jobIds).returning("id").execute();
  await tx.deleteFrom("jobs").where("id", "in", jobIds).execute();
  return runs.map((run) => run.id);
}

const overStates = statesOf(workerLifecycle).filter((state) => isFinal(workerLifecycle, state));

/** Ended sessions that no live run and no run still being stopped names as its supervisor. */
async function endedWorkers(tx: Transaction<Database>, { finishedBefore, limit }: Page): Promise<readonly WorkerId[]> {
  const rows = await tx
    .selectFrom("workers")
    .select("id")
    .where("state", "in", overStates)
    .where("ended_at", "<", finishedBefore)
    .where((eb) => eb.not(eb.exists(eb.selectFrom("live").select("live.id").whereRef("live.worker_id", "=", "workers.id"))))
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom("jobs")
            .innerJoin("runs", "runs.id", "jobs.blocked_by")
            .select("runs.id")
            .where("jobs.blocked_by", "is not", null)
            .whereRef("runs.worker_id", "=", "workers.id"),
        ),
      ),
    )
    .orderBy("id")
    .limit(limit)
    .execute();
  const ids = rows.map((row) => row.id);
  if (ids.length > 0) await tx.deleteFrom("workers").where("id", "in", ids).execute();
  return ids;
}

/**
 * Old lines of the action log, without those that explain something unfinished or blocked. Each is looked up by key: for a join PostgreSQL
 * reads all items.
 */
async function oldActions(tx: Kysely<Database>, { finishedBefore, limit }: Page): Promise<readonly number[]> {
  const unfinishedJobs = sql<number>`(select count(*) from jobs where jobs.id = action_logs.job_id
    and (jobs.finished_at is null or jobs.blocked_by is not null))`;
  const unfinishedItems = sql<number>`(select count(*) from items where items.id = action_logs.item_id and items.finished_at is null)`;
  const rows = await tx
    .selectFrom("action_logs")
    .select("id")
    .where("at", "<", finishedBefore)
    .where(unfinishedJobs, "=", 0)
    .where(unfinishedItems, "=", 0)
    .orderBy("at")
    .limit(limit)
    .execute();
  const ids = rows.map((row) => row.id);
  if (ids.length > 0) await tx.deleteFrom("action_logs").where("id", "in", ids).execute();
  return ids;
}
