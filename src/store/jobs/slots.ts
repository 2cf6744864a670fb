import { type Kysely, sql } from "kysely";
import type { RunId } from "../../domain/ids.ts";
import type { Database } from "../engine/tables.ts";

/**
 * Gives back the slot of an ended run whose process has stopped, once: only who clears the run's slot key lowers the count. Jobs and runs
 * are locked before slots everywhere but in a claim, which skips what is locked.
 */
export async function releaseSlot(tx: Kysely<Database>, runId: RunId): Promise<void> {
  const run = await tx.selectFrom("runs").select("slot_key").where("id", "=", runId).executeTakeFirst();
  const slotKey = run?.slot_key ?? null;
  if (slotKey === null) return;
  const taken = await tx
    .updateTable("runs")
    .set({ slot_key: null })
    .where("id", "=", runId)
    .where("slot_key", "=", slotKey)
    .executeTakeFirst();
  if (taken.numUpdatedRows === 0n) return;
  await tx.updateTable("slots").set({ used: sql<number>`used - 1` }).where("key", "=", slotKey).where("used", ">", 0).execute();
}
