import type { Transaction } from "kysely";
import type { ItemId, JobId, RunId } from "../../domain/ids.ts";
import type { Database } from "../engine/tables.ts";
import { makeReady } from "./ready.ts";
import { releaseSlot } from "./slots.ts";

/**
 * Ends the block of every job that waits for the proof about this run, such as its own and the next stage's: they may be claimed then, and
 * its slot is free. Answers those jobs.
 */
export async function clearBlock(
  tx: Transaction<Database>,
  runId: RunId,
): Promise<readonly { readonly id: JobId; readonly item_id: ItemId | null }[]> {
  const jobs = await tx
    .updateTable("jobs")
    .set({ blocked_by: null, stop_by: null })
    .where("blocked_by", "=", runId)
    .where("blocked_by", "is not", null)
    .returning(["id", "item_id"])
    .execute();
  if (jobs.length === 0) return [];
  await releaseSlot(tx, runId);
  await makeReady(
    tx,
    jobs.map(({ id }) => id),
  );
  return jobs;
}
