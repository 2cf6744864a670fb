import type { Kysely } from "kysely";
import type { ItemId, JobId } from "../../domain/ids.ts";
import { BeginAgain, type Engine, lockRows } from "../engine/engine.ts";
import type { Database, RowOf } from "../engine/tables.ts";

export interface LockedItem {
  readonly item: RowOf<"items">;
  readonly visit: RowOf<"visits"> | undefined;
}

/**
 * An item, its visit and its unfinished job, locked in the order in which a settler takes them: job, visit, item. When the item has moved on
 * before all three were locked the transaction is begun again: locking more on top of what it holds would be another order.
 */
export async function lockItem(engine: Engine, tx: Kysely<Database>, id: ItemId): Promise<LockedItem | undefined> {
  const seen = await tx.selectFrom("items").select("visit_id").where("id", "=", id).executeTakeFirst();
  if (seen === undefined) return undefined;
  if (engine.capabilities.rowLocks) {
    await tx.selectFrom("jobs").select("id").where("item_id", "=", id).where("finished_at", "is", null).orderBy("id").forUpdate().execute();
  }
  const visit =
    seen.visit_id === null
      ? undefined
      : await lockRows(engine, tx.selectFrom("visits").selectAll().where("id", "=", seen.visit_id)).executeTakeFirst();
  const item = await lockRows(engine, tx.selectFrom("items").selectAll().where("id", "=", id)).executeTakeFirst();
  if (item !== undefined && item.visit_id !== seen.visit_id) throw new BeginAgain(`item ${id} moved on`);
  return item === undefined ? undefined : { item, visit };
}

/** The item's job that has not ended; held ones count. An item is in one visit at a time, so there is at most one. */
export async function unfinishedJobOf(tx: Kysely<Database>, itemId: ItemId): Promise<JobId | undefined> {
  const row = await tx.selectFrom("jobs").select("id").where("item_id", "=", itemId).where("finished_at", "is", null).executeTakeFirst();
  return row?.id;
}
