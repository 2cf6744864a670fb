import { type Kysely, sql } from "kysely";
import type { ItemId, JobId, RunId, VisitId } from "../../domain/ids.ts";
import type { JsonText } from "../../domain/json-text.ts";
import { itemLifecycle, visitLifecycle } from "../../domain/lifecycles/item.ts";
import { sourcesOf } from "../../domain/lifecycles/lifecycle.ts";
import type { Instant } from "../../domain/time.ts";
import type { Database } from "../engine/tables.ts";
import { columnsOfState } from "../jobs/job-state.ts";
import { makeReady } from "../jobs/ready.ts";
import { UnknownQueueError } from "../port/errors.ts";
import type { StageEntry } from "../port/items.ts";
import type { Advance, ItemStep } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import { putStateFile } from "../records/outbox-entries.ts";

/** Hints to give after the commit of a transaction that moved an item. */
export const itemHints: readonly StoreHint[] = ["items", "jobs", "outbox"];

export interface AdvanceItem {
  readonly itemId: ItemId;
  /** The visit that passed: the guard. An item that has moved on is left alone. */
  readonly visitId: VisitId;
  readonly advance: Advance;
  /** What the stage returned; the next stage's `input.previous`. */
  readonly output?: JsonText | null | undefined;
  readonly now: Instant;
}

/**
 * Closes the visit that passed, and moves the item into its next stage with a new visit and job, or ends it as done. Undefined, changing
 * nothing: the visit is not the open one of an unfinished item.
 *
 * @param tx - The caller's, which has ended the visit's job and set its block.
 * @throws {UnknownQueueError} The next stage's queue is not known; the caller's transaction must be rolled back.
 */
export async function advanceItem(tx: Kysely<Database>, options: AdvanceItem): Promise<ItemStep | undefined> {
  const { itemId, visitId, advance, now } = options;
  const visit = await tx
    .updateTable("visits")
    .set({ state: "passed", closed_at: now, output: options.output ?? null })
    .where("id", "=", visitId)
    .where("item_id", "=", itemId)
    .where("state", "in", sourcesOf(visitLifecycle, "advance", "passed"))
    .returning("stage")
    .executeTakeFirst();
  if (visit === undefined) return undefined;
  if (advance.kind === "finish") {
    const item = await tx
      .updateTable("items")
      .set({ state: "done", finished_at: now, updated_at: now, error: null })
      .where("id", "=", itemId)
      .where("visit_id", "=", visitId)
      .where("state", "in", sourcesOf(itemLifecycle, "advance", "done"))
      .executeTakeFirst();
    if (item.numUpdatedRows === 0n) throw new Error(`visit ${visitId} was open, and item ${itemId} is not in it: see \`wakeful doctor\``);
    await putStateFile(tx, now, itemId);
    return { kind: "finished", itemId, from: visit.stage };
  }
  await enterStage(tx, { itemId, entry: advance, now });
  return { kind: "advanced", itemId, from: visit.stage, to: advance.stage };
}

/** A new visit of an unfinished item and its first job; the item's row points at it. */
export async function enterStage(
  tx: Kysely<Database>,
  options: { readonly itemId: ItemId; readonly entry: StageEntry; readonly now: Instant },
): Promise<{ readonly visitId: VisitId; readonly jobId: JobId }> {
  const { itemId, entry, now } = options;
  const item = await tx
    .updateTable("items")
    .set({
      stage: entry.stage,
      pipeline_version: entry.pipelineVersion,
      visit_count: sql<number>`visit_count + 1`,
      updated_at: now,
      error: null,
    })
    .where("id", "=", itemId)
    .where("finished_at", "is", null)
    .returning(["visit_count", "state", "repo"])
    .executeTakeFirstOrThrow(() => new Error(`item ${itemId} is finished and was to enter stage ${entry.stage}`));
  const visit = await tx
    .insertInto("visits")
    .values({
      item_id: itemId,
      stage: entry.stage,
      number: item.visit_count,
      state: "open",
      max_attempts: entry.maxAttempts,
      max_losses: entry.maxLosses,
      opened_at: now,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  await tx.updateTable("items").set({ visit_id: visit.id }).where("id", "=", itemId).execute();
  const jobId = await insertStageJob(tx, { itemId, visitId: visit.id, entry, paused: item.state === "paused", repo: item.repo, now });
  await putStateFile(tx, now, itemId);
  return { visitId: visit.id, jobId };
}

export interface NewStageJob {
  readonly itemId: ItemId;
  readonly visitId: VisitId;
  readonly entry: StageEntry;
  readonly paused: boolean;
  /** The item's, which goes before the stage's. */
  readonly repo: string | null;
  readonly now: Instant;
  /** What the visit has spent already; absent: nothing. */
  readonly spent?: { readonly attempts: number; readonly losses: number; readonly lastLossAt: Instant | null } | undefined;
}

/** The job of an open visit. An earlier run of the item that is still being stopped blocks it too: both work in the item's directory. */
export async function insertStageJob(tx: Kysely<Database>, options: NewStageJob): Promise<JobId> {
  const { itemId, visitId, entry, now, spent } = options;
  const queueId = await queueIdOf(tx, entry.queue);
  const block = await blockOfItem(tx, itemId);
  const job = await tx
    .insertInto("jobs")
    .values({
      queue_id: queueId,
      ...columnsOfState("queued", { runAt: now, visitId }),
      priority: entry.priority,
      run_at: now,
      created_at: now,
      attempts: spent?.attempts ?? 0,
      max_attempts: entry.maxAttempts,
      losses: spent?.losses ?? 0,
      max_losses: entry.maxLosses,
      last_loss_at: spent?.lastLossAt ?? null,
      blocked_by: block?.runId ?? null,
      stop_by: block?.stopBy ?? null,
      paused: options.paused,
      item_id: itemId,
      visit_id: visitId,
      host_id: (eb) => eb.selectFrom("items").select("items.host_id").where("items.id", "=", itemId),
      agent: entry.agent,
      repo: options.repo ?? entry.repo ?? null,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  await makeReady(tx, [job.id]);
  return job.id;
}

async function queueIdOf(tx: Kysely<Database>, name: string): Promise<number> {
  const row = await tx
    .selectFrom("queues")
    .select("id")
    .where("name", "=", name)
    .executeTakeFirstOrThrow(() => new UnknownQueueError(name));
  return row.id;
}

/** The run of this item that is still being stopped, if any. */
async function blockOfItem(tx: Kysely<Database>, itemId: ItemId): Promise<{ readonly runId: RunId; readonly stopBy: Instant } | undefined> {
  const row = await tx
    .selectFrom("jobs")
    .select(["blocked_by", "stop_by"])
    .where("item_id", "=", itemId)
    .where("blocked_by", "is not", null)
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  return row === undefined || row.blocked_by === null || row.stop_by === null ? undefined : { runId: row.blocked_by, stopBy: row.stop_by };
}

export interface EndItem {
  readonly itemId: ItemId;
  /** The item's open visit: the guard. */
  readonly visitId: VisitId;
  /** Shown with the item: the reason, and the run id where there is one. */
  readonly error: string | null;
  readonly now: Instant;
}

/** The visit's budget is spent: visit and item failed. In the caller's transaction; undefined, changing nothing, when the visit was not open. */
export async function failItem(tx: Kysely<Database>, options: EndItem): Promise<ItemStep | undefined> {
  return await endItem(tx, { ...options, visit: "failed", item: "failed" });
}

/** A person ended the item: its visit returned. In the caller's transaction; undefined, changing nothing, when the visit was not open. */
export async function cancelItem(tx: Kysely<Database>, options: EndItem): Promise<ItemStep | undefined> {
  return await endItem(tx, { ...options, visit: "returned", item: "cancelled" });
}

async function endItem(
  tx: Kysely<Database>,
  options: EndItem & { readonly visit: "failed" | "returned"; readonly item: "failed" | "cancelled" },
): Promise<ItemStep | undefined> {
  const { itemId, visitId, now } = options;
  const visit = await tx
    .updateTable("visits")
    .set({ state: options.visit, closed_at: now })
    .where("id", "=", visitId)
    .where("item_id", "=", itemId)
    .where("state", "=", "open")
    .executeTakeFirst();
  if (visit.numUpdatedRows === 0n) return undefined;
  const item = await tx
    .updateTable("items")
    .set({ state: options.item, error: options.error, finished_at: now, updated_at: now })
    .where("id", "=", itemId)
    .where("visit_id", "=", visitId)
    .where("finished_at", "is", null)
    .executeTakeFirst();
  if (item.numUpdatedRows === 0n) throw new Error(`visit ${visitId} was open, and item ${itemId} is not in it: see \`wakeful doctor\``);
  await putStateFile(tx, now, itemId);
  return { kind: options.item, itemId };
}
