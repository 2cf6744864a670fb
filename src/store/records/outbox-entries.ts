import { type Kysely, sql } from "kysely";
import type { ItemId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Database } from "../engine/tables.ts";
import type { OutboxRow } from "../port/records.ts";

export interface NewOutboxEntry {
  readonly kind: OutboxRow["kind"];
  readonly key: string;
  readonly payload: string;
  /** The item whose host alone may deliver it. Absent: any host may. */
  readonly ofItem?: ItemId | undefined;
}

/**
 * Puts an entry, in the caller's transaction. The same key again raises its revision and keeps its backoff, so that a chatty cause cannot
 * hammer a receiver that is down; a dead letter is tried again.
 */
export async function putOutboxEntry(tx: Kysely<Database>, now: Instant, entry: NewOutboxEntry): Promise<void> {
  const { kind, key, payload, ofItem } = entry;
  await tx
    .insertInto("outbox")
    .values({
      kind,
      key,
      payload,
      created_at: now,
      due_at: now,
      host_id: ofItem === undefined ? null : (eb) => eb.selectFrom("items").select("items.host_id").where("items.id", "=", ofItem),
    })
    .onConflict((conflict) =>
      conflict.columns(["kind", "key"]).doUpdateSet({
        payload: (eb) => eb.ref("excluded.payload"),
        host_id: (eb) => eb.ref("excluded.host_id"),
        revision: sql<number>`outbox.revision + 1`,
        attempts: sql<number>`case when outbox.due_at is null then 0 else outbox.attempts end`,
        due_at: sql<Instant>`coalesce(outbox.due_at, excluded.due_at)`,
      }),
    )
    .execute();
}

/** The item changed: its state file is to be written again. The deliverer reads the item as it is then. */
export async function putStateFile(tx: Kysely<Database>, now: Instant, itemId: ItemId): Promise<void> {
  await putOutboxEntry(tx, now, { kind: "state-file", key: String(itemId), payload: JSON.stringify({ itemId }), ofItem: itemId });
}
