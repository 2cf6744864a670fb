import { sql } from "kysely";
import type { JobState } from "../domain/lifecycles.ts";
import { appendActions } from "./action-log.ts";
import type { Engine } from "./engine.ts";
import { checkInvariants } from "./invariants.ts";
import { selectJobs } from "./jobs.ts";
import { newestInstant } from "./newest-instant.ts";
import type { JobRow } from "./port/jobs.ts";
import type { UpkeepStore } from "./port/upkeep.ts";
import { prune } from "./prune.ts";
import { queueCounts } from "./queue-counts.ts";
import { jobRow } from "./rows/job-row.ts";
import { raiseEpoch, recordStart } from "./start-record.ts";
import { readMeta, storeEpochOf, writeMeta } from "./store-epoch.ts";

/** Settings share the table of the store's own numbers, under names of their own. */
const settingName = (name: string): string => `setting:${name}`;

export function createUpkeep(engine: Engine): UpkeepStore {
  const { kysely } = engine;
  return {
    counts: async () => await queueCounts(engine),
    listJobs: async (options) => await listJobs(engine, options),
    slots: async () => await kysely.selectFrom("slots").selectAll().orderBy("key").execute(),
    recountSlots: async () => await recountSlots(engine),
    setQueuePaused: async ({ queues, paused, actor }) => {
      const changed = await engine.transaction(async (tx) => {
        let query = tx.updateTable("queues").set({ paused }).where("paused", "is", !paused).returning("name");
        if (queues !== "all") query = queues.length === 0 ? query.where(sql<boolean>`1 = 0`) : query.where("name", "in", queues);
        const rows = await query.execute();
        const action = paused ? "queue.paused" : "queue.resumed";
        await appendActions(
          tx,
          engine.now(),
          rows.map((row) => ({ action, actor, message: row.name })),
        );
        return rows.length;
      });
      if (changed > 0) engine.hint("jobs");
      return changed;
    },
    pausedQueues: async () => {
      const rows = await kysely.selectFrom("queues").select("name").where("paused", "is", true).orderBy("name").execute();
      return rows.map((row) => row.name);
    },
    prune: async (options) => await prune(engine, options),
    // In a transaction: rules that look at two tables must see them at one instant.
    checkInvariants: async () => await engine.snapshot(async (tx) => await checkInvariants(tx)),
    integrityCheck: async () => await engine.integrityCheck(),
    recordHost: async ({ hostId, bootId }) =>
      await engine.transaction(async (tx) => {
        const previous = await tx.selectFrom("hosts").select("boot_id").where("host_id", "=", hostId).executeTakeFirst();
        const seen = { boot_id: bootId, seen_at: engine.now() };
        await tx
          .insertInto("hosts")
          .values({ host_id: hostId, ...seen })
          .onConflict((conflict) => conflict.column("host_id").doUpdateSet(seen))
          .execute();
        return { previousBootId: previous?.boot_id ?? null };
      }),
    setting: async (name) => await readMeta(kysely, settingName(name)),
    putSetting: async (name, value) => {
      await writeMeta(kysely, settingName(name), value);
    },
    newestInstant: async () => await newestInstant(kysely),
    storeEpoch: async () => await storeEpochOf(kysely),
    recordStart: async (fileStartSeq) => await recordStart(engine, fileStartSeq),
    raiseEpoch: async (reason) => await raiseEpoch(engine, reason),
    sizeBytes: async () => await engine.sizeBytes(),
  };
}

async function recountSlots(engine: Engine): Promise<readonly string[]> {
  const { kysely } = engine;
  const held = sql<number>`(select count(*) from runs where runs.slot_key is not null and runs.slot_key = slots.key)`;
  const suspects = await kysely
    .selectFrom("slots")
    .select("key")
    .where((eb) => eb("used", "<>", held))
    .orderBy("key")
    .execute();
  const wrong: string[] = [];
  for (const { key } of suspects) {
    await engine.transaction(async (tx) => {
      // The row is locked by a write to itself before it is counted: a claim or settle in flight changes both, and must not be counted half.
      await tx.updateTable("slots").set({ used: sql<number>`used` }).where("key", "=", key).execute();
      const result = await tx
        .updateTable("slots")
        .set({ used: held })
        .where("key", "=", key)
        .where((eb) => eb("used", "<>", held))
        .executeTakeFirst();
      if (result.numUpdatedRows > 0n) wrong.push(key);
    });
  }
  if (wrong.length > 0) engine.hint("jobs");
  return wrong;
}

async function listJobs(engine: Engine, options: Parameters<UpkeepStore["listJobs"]>[0]): Promise<readonly JobRow[]> {
  const { kysely, predicates } = engine;
  /** One page of one set of jobs, newest first. */
  const page = async (narrow: (query: ReturnType<typeof selectJobs>) => ReturnType<typeof selectJobs>): Promise<readonly JobRow[]> => {
    let query = narrow(selectJobs(kysely)).orderBy("jobs.id", "desc").limit(options.limit);
    if (options.queue !== undefined) query = query.where("queues.name", "=", options.queue);
    if (options.before !== undefined) query = query.where("jobs.id", "<", options.before);
    return (await query.execute()).map(jobRow);
  };
  if (options.states === undefined) return await page((query) => query);
  const wanted = new Set(options.states);
  const pages: (readonly JobRow[])[] = [];
  // Each state by the index that holds it, so that a rare one is not looked for among all that ever was.
  if (wanted.has("queued")) {
    pages.push(await page((query) => query.where(predicates.claimable)));
    pages.push(await page((query) => query.where(predicates.paused).where("jobs.state", "=", "queued")));
    pages.push(await page((query) => query.where("jobs.blocked_by", "is not", null).where("jobs.state", "=", "queued")));
  }
  if (wanted.has("scheduled")) pages.push(await page((query) => query.where("jobs.state", "=", "scheduled")));
  if (wanted.has("running")) {
    pages.push(
      await page((query) =>
        query.where("jobs.id", "in", (eb) => eb.selectFrom("runs").select("runs.job_id").where("runs.ended_at", "is", null)),
      ),
    );
  }
  const ofNote: readonly JobState[] = (["held", "failed", "cancelled"] as const).filter((state) => wanted.has(state));
  for (const state of ofNote) pages.push(await page((query) => query.where(predicates.ofNote).where("jobs.state", "=", state)));
  if (wanted.has("done")) pages.push(await page((query) => query.where("jobs.state", "=", "done")));
  // A job that moved between two of these queries may be in both pages: the later look is the truer one.
  const byId = new Map(pages.flat().map((job) => [job.id, job]));
  return [...byId.values()].sort((a, b) => b.id - a.id).slice(0, options.limit);
}
