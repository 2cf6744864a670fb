import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { JobState } from "../../domain/lifecycles/job.ts";
import type { Engine } from "../engine/engine.ts";
import { readMeta, storeEpochOf, writeMeta } from "../engine/store-epoch.ts";
import { blockedQueued, heldJobs, listJobs, pausedQueued, scheduledJobs } from "../jobs/job-list.ts";
import type { QueueCounts, UpkeepStore } from "../port/upkeep.ts";
import { appendActions } from "../records/action-log.ts";
import { resetClock } from "./clock-reset.ts";
import { checkInvariants } from "./invariants.ts";
import { newestInstant } from "./newest-instant.ts";
import { prune } from "./prune.ts";
import { identify, raiseEpoch, recordStart } from "./start-record.ts";

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
    daemonHeardAt: async (hostId) => {
      const { heardAt } = await kysely
        .selectFrom("workers")
        .select((eb) => eb.fn.max("last_heard_at").as("heardAt"))
        .where("host_id", "=", hostId)
        .where("kind", "=", "command")
        .executeTakeFirstOrThrow();
      return heardAt ?? undefined;
    },
    newestInstant: async () => await newestInstant(kysely),
    resetClock: async (options) => await resetClock(engine, options),
    storeEpoch: async () => await storeEpochOf(kysely),
    recordStart: async (fileStartSeq) => await recordStart(engine, fileStartSeq),
    raiseEpoch: async (reason) => await raiseEpoch(engine, reason),
    identify: async (candidate) => await identify(engine, candidate),
    sizeBytes: async () => await engine.sizeBytes(),
    keptForReaders: async () => await engine.keptForReaders(),
  };
}

async function recountSlots(engine: Engine): Promise<readonly string[]> {
  const { kysely } = engine;
  const held = sql<number>`((select count(*) from live where live.slot_key is not null and live.slot_key = slots.key)
    + (select count(*) from runs where runs.slot_key is not null and runs.slot_key = slots.key))`;
  const suspects = await kysely
    .selectFrom("slots")
    .select("key")
    .where((eb) => eb("used", "<>", held))
    .orderBy("key")
    .execute();
  const wrong: string[] = [];
  for (const { key } of suspects) {
    await engine.transaction(async (tx) => {
      // A write to the row locks it before the count: a claim or settlement in flight changes both, and must not be counted half.
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

/** Unfinished jobs by queue and state, each part read from the table or index that holds just those, without a scan of history. */
async function queueCounts(engine: Engine): Promise<readonly QueueCounts[]> {
  const { kysely } = engine;
  const queues = await kysely.selectFrom("queues").select(["id", "name", "paused"]).orderBy("name").execute();
  const n = sql<number>`count(*)`.as("n");
  const countWhere = async (predicate: RawBuilder<SqlBool>) =>
    await kysely.selectFrom("jobs").select(["queue_id", n]).where(predicate).groupBy("queue_id").execute();
  const claimable = await kysely.selectFrom("ready").select(["queue_id", n]).groupBy("queue_id").execute();
  const claimableOnHost = await kysely.selectFrom("ready_on_host").select(["queue_id", n]).groupBy("queue_id").execute();
  const scheduled = await countWhere(scheduledJobs);
  const held = await countWhere(heldJobs);
  // Queued and yet not claimable: waiting for the proof that an old run has stopped, or paused.
  const waitingForProof = await countWhere(blockedQueued);
  const paused = await countWhere(sql<boolean>`${pausedQueued(engine)} and jobs.blocked_by is null`);
  const blocked = await countWhere(sql<boolean>`jobs.blocked_by is not null`);
  // Each job by its key: for a join the server would read all jobs.
  const queueOf = sql<number>`(select jobs.queue_id from jobs where jobs.id = live.job_id)`.as("queue_id");
  const running = await kysely
    .selectFrom(kysely.selectFrom("live").select(queueOf).as("running"))
    .select(["queue_id", n])
    .groupBy("queue_id")
    .execute();

  return queues.map((queue) => {
    const states: Partial<Record<JobState, number>> = {};
    const add = (state: JobState, rows: readonly { readonly queue_id: number; readonly n: number }[]): void => {
      for (const row of rows) if (row.queue_id === queue.id) states[state] = (states[state] ?? 0) + row.n;
    };
    add("queued", claimable);
    add("queued", claimableOnHost);
    add("queued", waitingForProof);
    add("queued", paused);
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
