import type { Transaction } from "kysely";
import type { Engine } from "../engine/engine.ts";
import { lockStoreEpoch, readMeta, writeMeta } from "../engine/store-epoch.ts";
import type { Database } from "../engine/tables.ts";
import type { UpkeepStore } from "../port/upkeep.ts";
import { appendActions } from "../records/action-log.ts";

/**
 * A new epoch in the caller's transaction: from its commit on, run ids and lease fences begin in its range. After the commit the caller
 * calls the engine's `epochRaised`.
 */
export async function raiseEpochIn(engine: Engine, tx: Transaction<Database>, reason: string): Promise<number> {
  // Two raises at once make two epochs: within one, the second would set ids back to where the first has begun.
  const epoch = (await lockStoreEpoch(engine, tx)) + 1;
  await writeMeta(tx, "store_epoch", String(epoch));
  await engine.moveRunIds(tx, epoch);
  await appendActions(tx, engine.now(), [{ action: "store.epoch_raised", actor: "store", reason, message: `store epoch ${epoch}` }]);
  return epoch;
}

export async function raiseEpoch(engine: Engine, reason: string): Promise<number> {
  const epoch = await engine.transaction(async (tx) => await raiseEpochIn(engine, tx, reason));
  engine.epochRaised();
  return epoch;
}

/**
 * Counts this start. The store was restored when it is behind the file beside the data, or has starts and no file; only on a shared store
 * may a new host have none (decision 0002).
 */
export async function recordStart(engine: Engine, fileStartSeq: number | undefined): ReturnType<UpkeepStore["recordStart"]> {
  const result = await engine.transaction(async (tx) => {
    await lockStoreEpoch(engine, tx); // also guards the count that is read and written below
    const stored = Number((await readMeta(tx, "start_seq")) ?? "0");
    const behind = fileStartSeq === undefined ? stored > 0 && !engine.capabilities.manyWriters : fileStartSeq > stored;
    if (behind) {
      await raiseEpochIn(
        engine,
        tx,
        fileStartSeq === undefined
          ? "no start file beside the store"
          : `the store counts ${stored} starts, the file beside it ${fileStartSeq}`,
      );
    }
    const startSeq = Math.max(stored, fileStartSeq ?? 0) + 1;
    await writeMeta(tx, "start_seq", String(startSeq));
    return { startSeq, epochRaised: behind };
  });
  if (result.epochRaised) engine.epochRaised();
  return result;
}

const idName = "store_id";

export async function identify(engine: Engine, candidate: string): Promise<string> {
  return await engine.transaction(async (tx) => {
    // Of two first starts at once one gives the id, and the other reads it.
    await tx
      .insertInto("meta")
      .values({ name: idName, value: candidate })
      .onConflict((conflict) => conflict.column("name").doNothing())
      .execute();
    return (await readMeta(tx, idName)) ?? candidate;
  });
}
