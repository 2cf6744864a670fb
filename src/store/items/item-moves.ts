import { type Kysely, sql, type Transaction } from "kysely";
import type { HostId, ItemId, JobId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import { changeWithoutJob } from "../../liveness/retry-contract.ts";
import { BeginAgain, type Engine, lockRows } from "../engine/engine.ts";
import type { Database, RowOf } from "../engine/tables.ts";
import { holdJob, releaseHeldForHost } from "../jobs/job-hold.ts";
import { type LockedJob, lockJob } from "../jobs/job-lock.ts";
import { makeReady, removeFromReady } from "../jobs/ready.ts";
import type { ItemsStore } from "../port/items.ts";
import { appendActions } from "../records/action-log.ts";
import { putStateFile } from "../records/outbox-entries.ts";
import { advanceItem, cancelItem, enterStage, failItem, insertStageJob, itemHints } from "./item-advance.ts";

type Moves = Pick<ItemsStore, "rerun" | "retry" | "setPaused" | "redrive" | "advance" | "end" | "move" | "takeAll" | "hostsOfUnfinished">;

/** Written as the partial index is. */
const unfinished = sql<boolean>`state in ('active', 'paused')`;

/** What people and the reconciler do to items. Each verb is one transaction and answers whether it won. */
export function createItemMoves(engine: Engine): Moves {
  /** Runs `body` in a transaction and, where it did something, hints. */
  const move = async <T>(body: (tx: Transaction<Database>, now: Instant) => Promise<T>): Promise<T> => {
    const result = await engine.transaction(async (tx) => await body(tx, engine.now()));
    if (result !== undefined && result !== false) engine.hint(...itemHints);
    return result;
  };

  return {
    rerun: async (id, options) => await move(async (tx, now) => await rerun(engine, tx, { id, now, ...options })),
    retry: async (id, options) => await move(async (tx, now) => await retry(engine, tx, { id, now, ...options })),
    setPaused: async (id, { paused, actor }) =>
      await move(async (tx, now) => {
        const locked = await lockItem(engine, tx, id);
        if (locked?.item.state !== (paused ? "active" : "paused")) return false;
        await tx
          .updateTable("items")
          .set({ state: paused ? "paused" : "active", updated_at: now })
          .where("id", "=", id)
          .execute();
        if (locked.job !== undefined) await pauseJob(tx, locked.job, paused);
        await putStateFile(tx, now, id);
        await appendActions(tx, now, [{ action: paused ? "item.paused" : "item.resumed", actor, itemId: id }]);
        return true;
      }),
    move: async (id, options) => await move(async (tx, now) => await moveItem(engine, tx, { id, ...options }, now)),
    takeAll: async (options) => await takeAll(engine, options),
    hostsOfUnfinished: async () => {
      const rows = await engine.kysely
        .selectFrom("items")
        .select("host_id")
        .distinct()
        .where(unfinished)
        .where("host_id", "is not", null)
        .orderBy("host_id")
        .execute();
      return rows.flatMap(({ host_id }) => (host_id === null ? [] : [host_id]));
    },
    redrive: async (id, options) => await move(async (tx, now) => await redrive(engine, tx, { id, now, ...options })),
    advance: async (id, { visitId, advance, actor, reason }) =>
      await move(async (tx, now) => {
        const locked = await lockItem(engine, tx, id);
        if (locked?.visit?.id !== visitId || locked.visit.state !== "open" || locked.item.finished_at !== null) return false;
        if (locked.job !== undefined) return false;
        const last = await tx
          .selectFrom("jobs")
          .select(["state", "output"])
          .where("visit_id", "=", visitId)
          .orderBy("id", "desc")
          .limit(1)
          .executeTakeFirst();
        if (last?.state !== "done") return false;
        if ((await advanceItem(tx, { itemId: id, visitId, advance, output: last.output, now })) === undefined) return false;
        const message =
          advance.kind === "finish" ? `passed its last stage, ${locked.item.stage}` : `from ${locked.item.stage} to ${advance.stage}`;
        await appendActions(tx, now, [{ action: "item.advanced", actor, reason, message, itemId: id }]);
        return true;
      }),
    end: async (id, { visitId, state, actor, reason }) =>
      await move(async (tx, now) => {
        const locked = await lockItem(engine, tx, id);
        if (locked?.visit?.id !== visitId || locked.item.state !== "active" || locked.job !== undefined) return false;
        const last = await tx
          .selectFrom("jobs")
          .select(["state", "error"])
          .where("visit_id", "=", visitId)
          .orderBy("id", "desc")
          .limit(1)
          .executeTakeFirst();
        if (last?.state !== state) return false;
        const ending = { itemId: id, visitId, error: last.error ?? reason, now };
        if ((await (state === "failed" ? failItem(tx, ending) : cancelItem(tx, ending))) === undefined) return false;
        await appendActions(tx, now, [{ action: "item.ended", actor, reason, message: `${state}: ${ending.error}`, itemId: id }]);
        return true;
      }),
  };
}

/** Whose files an item's are, from now on: its own column, its job's, and its place among what may be claimed. */
async function repin(tx: Transaction<Database>, { item, job }: LockedItem, to: HostId, now: Instant): Promise<void> {
  await tx.updateTable("items").set({ host_id: to, updated_at: now }).where("id", "=", item.id).execute();
  if (job !== undefined) {
    await removeFromReady(tx, job.job);
    await tx.updateTable("jobs").set({ host_id: to }).where("id", "=", job.job.id).execute();
    await makeReady(tx, [job.job.id]);
  }
  // The entry goes to the other host with it.
  await putStateFile(tx, now, item.id);
}

interface Move {
  readonly id: ItemId;
  readonly to: HostId;
  readonly unless?: "waiting" | undefined;
  readonly actor: string;
}

async function moveItem(
  engine: Engine,
  tx: Transaction<Database>,
  { id, to, unless, actor }: Move,
  now: Instant,
): ReturnType<ItemsStore["move"]> {
  const locked = await lockItem(engine, tx, id);
  if (locked === undefined) return undefined;
  const { item, job } = locked;
  if (job !== undefined && (job.live !== undefined || job.job.blocked_by !== null)) return "running";
  const waits = job !== undefined && job.job.state !== "held" && item.state === "active";
  if (waits && unless === "waiting") return "waiting";
  await repin(tx, locked, to, now);
  if (job !== undefined) await releaseHeldForHost(tx, job.job, { actor, now });
  await appendActions(tx, now, [{ action: "item.moved", actor, message: `from ${item.host_id ?? "no host"} to ${to}`, itemId: id }]);
  return "moved";
}

/** Most items of one look. */
const takenAtOnce = 200;

async function takeAll(engine: Engine, { to, from }: Parameters<ItemsStore["takeAll"]>[0]): Promise<number> {
  const { kysely } = engine;
  if (from !== "everybody" && from.length === 0) return 0;
  const others = from === "everybody" ? sql<boolean>`(host_id is null or host_id <> ${to})` : sql<boolean>`host_id in (${sql.join(from)})`;
  let taken = 0;
  for (;;) {
    const page = await kysely.selectFrom("items").select("id").where(unfinished).where(others).orderBy("id").limit(takenAtOnce).execute();
    for (const { id } of page) {
      await engine.transaction(async (tx) => {
        const locked = await lockItem(engine, tx, id);
        if (locked !== undefined) await repin(tx, locked, to, engine.now());
      });
    }
    taken += page.length;
    if (page.length < takenAtOnce) break;
  }
  // Nothing waits for what is finished: it is only where it would be run again.
  await kysely.updateTable("items").set({ host_id: to }).where(others).where("finished_at", "is not", null).execute();
  if (taken > 0) engine.hint(...itemHints);
  return taken;
}

type Options<Verb extends "rerun" | "retry" | "redrive"> = Parameters<ItemsStore[Verb]>[1] & {
  readonly id: ItemId;
  readonly now: Instant;
};

async function rerun(engine: Engine, tx: Transaction<Database>, options: Options<"rerun">): Promise<JobId | undefined> {
  const { id, entry, uncounted, actor, now } = options;
  const locked = await lockItem(engine, tx, id);
  if (locked === undefined || locked.job !== undefined) return undefined;
  const { item, visit } = locked;
  if (visit?.state === "open" || visit?.state === "failed") {
    await tx
      .updateTable("visits")
      .set({ state: "returned", closed_at: visit.closed_at ?? now })
      .where("id", "=", visit.id)
      .execute();
  }
  await tx
    .updateTable("visits")
    .set({ counts: false })
    .where("item_id", "=", id)
    .where("stage", "in", [...new Set([entry.stage, ...uncounted])])
    .execute();
  if (item.finished_at !== null) {
    await tx.updateTable("items").set({ state: "active", finished_at: null }).where("id", "=", id).execute();
  }
  const { jobId } = await enterStage(tx, { itemId: id, entry, now });
  await appendActions(tx, now, [
    { action: "item.rerun", actor, reason: `was ${item.state}`, message: `from stage ${entry.stage}`, itemId: id, jobId },
  ]);
  return jobId;
}

async function retry(engine: Engine, tx: Transaction<Database>, options: Options<"retry">): Promise<JobId | undefined> {
  const { id, entry, actor, now } = options;
  const locked = await lockItem(engine, tx, id);
  const visit = locked?.visit;
  if (locked?.item.state !== "failed" || visit?.state !== "failed" || visit.stage !== entry.stage) return undefined;
  if (locked.job !== undefined) return undefined;
  await tx
    .updateTable("visits")
    .set({
      state: "open",
      closed_at: null,
      attempts: 0,
      losses: 0,
      last_loss_at: null,
      max_attempts: entry.maxAttempts,
      max_losses: entry.maxLosses,
    })
    .where("id", "=", visit.id)
    .execute();
  await tx
    .updateTable("items")
    .set({ state: "active", finished_at: null, error: null, pipeline_version: entry.pipelineVersion, updated_at: now })
    .where("id", "=", id)
    .execute();
  const jobId = await insertStageJob(tx, { itemId: id, visitId: visit.id, entry, paused: false, repo: locked.item.repo, now });
  await putStateFile(tx, now, id);
  await appendActions(tx, now, [{ action: "item.retried", actor, message: `stage ${entry.stage} with a fresh budget`, itemId: id, jobId }]);
  return jobId;
}

/** The budget is the visit's: what its earlier jobs spent stays spent, whatever the pipeline says by now. */
async function redrive(engine: Engine, tx: Transaction<Database>, options: Options<"redrive">): ReturnType<ItemsStore["redrive"]> {
  const { id, visitId, entry, onExhausted, actor, reason, now } = options;
  const locked = await lockItem(engine, tx, id);
  const visit = locked?.visit;
  if (locked?.item.state !== "active" || visit?.id !== visitId || visit.state !== "open" || visit.stage !== entry.stage) return undefined;
  if (locked.job !== undefined) return undefined;
  const { attempts, max_attempts: maxAttempts, losses, max_losses: maxLosses, last_loss_at: lastLossAt } = visit;
  const to = changeWithoutJob({ attempts, maxAttempts }, onExhausted);
  const spentText = `${reason}, and its ${maxAttempts} attempts are spent`;
  if (to === "failed") {
    if ((await failItem(tx, { itemId: id, visitId, error: spentText, now })) === undefined) return undefined;
    await appendActions(tx, now, [{ action: "item.ended", actor, reason: "attempts_spent", message: `failed: ${spentText}`, itemId: id }]);
    return to;
  }
  const jobId = await insertStageJob(tx, {
    itemId: id,
    visitId,
    entry: { ...entry, maxAttempts, maxLosses },
    paused: false,
    repo: locked.item.repo,
    now,
    spent: { attempts, losses, lastLossAt },
  });
  await tx.updateTable("items").set({ updated_at: now }).where("id", "=", id).execute();
  await putStateFile(tx, now, id);
  const message = `job ${jobId} for stage ${entry.stage}`;
  await appendActions(tx, now, [{ action: "item.redriven", actor, reason, message, itemId: id, jobId }]);
  if (to === "held") await holdJob(engine, tx, { jobId, actor, reason: "attempts_spent", message: spentText, now });
  return to;
}

/** A running job is only marked: it is not claimable again when its run has ended. */
async function pauseJob(tx: Transaction<Database>, { job }: LockedJob, paused: boolean): Promise<void> {
  await tx.updateTable("jobs").set({ paused }).where("id", "=", job.id).execute();
  if (paused) await removeFromReady(tx, job);
  else await makeReady(tx, [job.id]);
}

interface LockedItem {
  readonly item: RowOf<"items">;
  readonly visit: RowOf<"visits"> | undefined;
  /** Its unfinished job. */
  readonly job: LockedJob | undefined;
}

/**
 * Locks an item's unfinished job with its run, its visit and the item, in the order of a settler. An item that has moved on meanwhile
 * begins the transaction again: locking more on top would be another order.
 */
export async function lockItem(engine: Engine, tx: Transaction<Database>, id: ItemId): Promise<LockedItem | undefined> {
  const seen = await tx.selectFrom("items").select("visit_id").where("id", "=", id).executeTakeFirst();
  if (seen === undefined) return undefined;
  const jobId = await unfinishedJobOf(tx, id);
  const job = jobId === undefined ? undefined : await lockJob(engine, tx, jobId);
  const visit =
    seen.visit_id === null
      ? undefined
      : await lockRows(engine, tx.selectFrom("visits").selectAll().where("id", "=", seen.visit_id)).executeTakeFirst();
  const item = await lockRows(engine, tx.selectFrom("items").selectAll().where("id", "=", id)).executeTakeFirst();
  if (item === undefined) return undefined;
  // Whoever gives the item another job holds the item's row.
  const moved = engine.capabilities.rowLocks && (item.visit_id !== seen.visit_id || (await unfinishedJobOf(tx, id)) !== jobId);
  if (moved) throw new BeginAgain(`item ${id} moved on`);
  return { item, visit, job };
}

/** The item's job that has not ended; held ones count. An item is in one visit at a time, so there is at most one. */
export async function unfinishedJobOf(tx: Kysely<Database>, itemId: ItemId): Promise<JobId | undefined> {
  const row = await tx.selectFrom("jobs").select("id").where("item_id", "=", itemId).where("finished_at", "is", null).executeTakeFirst();
  return row?.id;
}
