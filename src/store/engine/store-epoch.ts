import type { Kysely } from "kysely";
import { type Engine, lockRows } from "./engine.ts";
import type { Database } from "./tables.ts";

const epochName = "store_epoch";

/** Which life of the store this is; a promotion or a restore raises it. The first is 0. */
export async function storeEpochOf(db: Kysely<Database>): Promise<number> {
  return Number((await readMeta(db, epochName)) ?? "0");
}

/** The epoch, with its row locked until the caller's transaction ends. */
export async function lockStoreEpoch(engine: Engine, tx: Kysely<Database>): Promise<number> {
  await tx
    .insertInto("meta")
    .values({ name: epochName, value: "0" })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  const row = await lockRows(engine, tx.selectFrom("meta").select("value").where("name", "=", epochName)).executeTakeFirstOrThrow();
  return Number(row.value);
}

export async function readMeta(db: Kysely<Database>, name: string): Promise<string | undefined> {
  const row = await db.selectFrom("meta").select("value").where("name", "=", name).executeTakeFirst();
  return row?.value;
}

export async function writeMeta(db: Kysely<Database>, name: string, value: string): Promise<void> {
  await db
    .insertInto("meta")
    .values({ name, value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
}
