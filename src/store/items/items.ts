import { sql } from "kysely";
import { WakefulError } from "../../domain/errors.ts";
import type { ItemId, JobId, VisitId } from "../../domain/ids.ts";
import type { Engine } from "../engine/engine.ts";
import type { RowOf } from "../engine/tables.ts";
import { jobRow } from "../jobs/job-row.ts";
import { selectJobs } from "../jobs/jobs.ts";
import type { ItemRow, ItemsStore, NewItem, StrandedItem, VisitRow } from "../port/items.ts";
import { appendActions } from "../records/action-log.ts";
import { runRow } from "../runs/run-row.ts";
import { enterStage, itemHints } from "./item-advance.ts";
import { createItemMoves } from "./item-moves.ts";
import { createPipelineVersions } from "./pipeline-versions.ts";

export function createItems(engine: Engine): Omit<ItemsStore, "cancel"> {
  const { kysely } = engine;
  return {
    ...createPipelineVersions(engine),
    ...createItemMoves(engine),
    add: async (item) => {
      const { row, created } = await addItem(engine, item);
      if (created) engine.hint(...itemHints);
      return { item: itemRow(row), created };
    },
    get: async (id) => {
      const row = await kysely.selectFrom("items").selectAll().where("id", "=", id).executeTakeFirst();
      return row === undefined ? undefined : itemRow(row);
    },
    byKey: async (pipeline, key) => {
      const row = await kysely.selectFrom("items").selectAll().where("pipeline", "=", pipeline).where("key", "=", key).executeTakeFirst();
      return row === undefined ? undefined : itemRow(row);
    },
    list: async (options) => {
      let query = kysely.selectFrom("items").selectAll().orderBy("id", "desc").limit(options.limit);
      if (options.pipeline !== undefined) query = query.where("pipeline", "=", options.pipeline);
      if (options.states !== undefined) {
        query = query.where("state", "in", options.states);
        // Written as the partial index is, so that a list of unfinished items does not walk the finished ones.
        if (options.states.every((state) => state === "active" || state === "paused")) query = query.where(unfinished);
      }
      if (options.before !== undefined) query = query.where("id", "<", options.before);
      return (await query.execute()).map(itemRow);
    },
    visits: async (id) => {
      const rows = await kysely.selectFrom("visits").selectAll().where("item_id", "=", id).orderBy("number").execute();
      return rows.map(visitRow);
    },
    jobs: async (id) => {
      const rows = await selectJobs(kysely).where("jobs.item_id", "=", id).orderBy("jobs.id").execute();
      return rows.map(jobRow);
    },
    listStranded: async (options) => await listStranded(engine, options),
  };
}

const unfinished = sql<boolean>`state in ('active', 'paused')`;

async function addItem(engine: Engine, item: NewItem): Promise<{ readonly row: RowOf<"items">; readonly created: boolean }> {
  const { first, actor } = item;
  return await engine.transaction(async (tx) => {
    const now = engine.now();
    const find = async (): Promise<RowOf<"items"> | undefined> =>
      await tx.selectFrom("items").selectAll().where("pipeline", "=", item.pipeline).where("key", "=", item.key).executeTakeFirst();
    const inserted = await tx
      .insertInto("items")
      .values({
        pipeline: item.pipeline,
        pipeline_version: first.pipelineVersion,
        key: item.key,
        dir: item.dir,
        state: "active",
        stage: first.stage,
        // Entering the first stage makes it 1.
        visit_count: 0,
        input: item.input,
        label: item.label ?? null,
        repo: item.repo ?? null,
        branch: item.branch ?? null,
        host_id: item.hostId ?? null,
        created_at: now,
        updated_at: now,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returning("id")
      .executeTakeFirst();
    if (inserted === undefined) {
      const row = await find();
      if (row !== undefined) return { row, created: false };
      throw new WakefulError(
        "conflict",
        `The directory ${JSON.stringify(item.dir)} belongs to another item: give ${item.pipeline} ${item.key} one of its own.`,
        {
          details: { pipeline: item.pipeline, key: item.key, dir: item.dir },
        },
      );
    }
    const { jobId } = await enterStage(tx, { itemId: inserted.id, entry: first, now });
    await appendActions(tx, now, [{ action: "item.added", actor, message: item.label ?? null, itemId: inserted.id, jobId }]);
    const row = await find();
    if (row === undefined) throw new Error(`item ${inserted.id} was inserted and is not there`);
    return { row, created: true };
  });
}

async function listStranded(
  engine: Engine,
  options: { readonly limit: number; readonly after?: ItemId | undefined },
): Promise<readonly StrandedItem[]> {
  const { kysely } = engine;
  const items = await kysely
    .selectFrom("items")
    .selectAll()
    .where(unfinished)
    .where("state", "=", "active")
    .where("id", ">", options.after ?? (0 as ItemId))
    .where((eb) =>
      eb.not(
        eb.exists(
          // Written as the partial index is: an unfinished job of the visit.
          eb
            .selectFrom("jobs")
            .select("jobs.id")
            .whereRef("jobs.open_visit_id", "=", "items.visit_id")
            .where("jobs.open_visit_id", "is not", null),
        ),
      ),
    )
    .orderBy("id")
    .limit(options.limit)
    .execute();
  const visitIds = items.flatMap((item) => (item.visit_id === null ? [] : [item.visit_id]));
  if (visitIds.length === 0) return [];
  const visits = await kysely.selectFrom("visits").selectAll().where("id", "in", visitIds).execute();
  // Ascending, so that the last one of each visit is the one that stays in the map.
  const jobs = await selectJobs(kysely).where("jobs.visit_id", "in", visitIds).orderBy("jobs.id").execute();
  const lastJobs = new Map<VisitId, (typeof jobs)[number]>();
  for (const job of jobs) if (job.visit_id !== null) lastJobs.set(job.visit_id, job);
  const lastRuns = new Map<JobId, RowOf<"runs">>();
  const jobIds = [...lastJobs.values()].map((job) => job.id);
  if (jobIds.length > 0) {
    const runs = await kysely.selectFrom("runs").selectAll().where("job_id", "in", jobIds).orderBy("attempt").execute();
    for (const run of runs) lastRuns.set(run.job_id, run);
  }
  return items.flatMap((item) => {
    const visit = visits.find((candidate) => candidate.id === item.visit_id);
    if (visit === undefined) return [];
    const job = lastJobs.get(visit.id);
    const run = job === undefined ? undefined : lastRuns.get(job.id);
    return [
      {
        item: itemRow(item),
        visit: visitRow(visit),
        lastJob: job === undefined ? undefined : jobRow(job),
        lastRun: run === undefined ? undefined : runRow(run),
      },
    ];
  });
}

/** A row of `items`. It names its visit from the transaction on that made it. */
function itemRow(row: RowOf<"items">): ItemRow {
  return {
    id: row.id,
    pipeline: row.pipeline,
    pipelineVersion: row.pipeline_version,
    key: row.key,
    dir: row.dir,
    state: row.state,
    stage: row.stage,
    // Null only between the insert of an item and that of its first visit, in one transaction.
    visitId: row.visit_id as VisitId,
    input: row.input,
    label: row.label,
    repo: row.repo,
    branch: row.branch,
    error: row.error,
    hostId: row.host_id,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    finishedAt: row.finished_at,
  };
}

/** A row of `visits`. */
function visitRow(row: RowOf<"visits">): VisitRow {
  return {
    id: row.id,
    itemId: row.item_id,
    stage: row.stage,
    number: row.number,
    state: row.state,
    counts: Boolean(row.counts),
    attempts: row.attempts,
    maxAttempts: row.max_attempts,
    losses: row.losses,
    maxLosses: row.max_losses,
    openedAt: row.opened_at,
    closedAt: row.closed_at,
    output: row.output,
  };
}
