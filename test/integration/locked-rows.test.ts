import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { chain } from "../support/loop-world.ts";
import { createDatabase, storeOptions } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { RepairWorld } from "../support/repair-world.ts";

/** The text of a write that does not wait for a locked row; one that waits in vain says something else. */
const inTheWay = expect.stringContaining("is being written by somebody else");

/** A world on a real server, and another connection that locks rows as a stuck client would. */
async function open() {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const world = await RepairWorld.open([chain("p", ["prep"])], { url: database.url });
  const other = new pg.Client({ connectionString: database.url, options: storeOptions });
  await other.connect();
  onTestFinished(() => other.end());
  return {
    world,
    lock: async (table: string, ...ids: readonly number[]) => {
      await other.query("begin");
      const { rowCount } = await other.query(`select id from ${table} where id = any($1) for update`, [ids]);
      expect(rowCount).toBe(ids.length);
    },
    release: async () => {
      await other.query("rollback");
    },
  };
}

test("one row that somebody else holds keeps the reaper from nothing else: the others are settled, and that one with the next tick", async () => {
  const { world, lock, release } = await open();
  const item = await world.addItem("p");
  const runs = [await world.running(), await world.running(), await world.running()] as const;
  const ofItem = await world.start({ queue: "p/prep" });
  for (const run of [...runs, ofItem]) world.die(run);
  await world.tick();
  await lock("jobs", runs[1].jobId);
  expect(await world.tick()).toMatchObject({ settled: 3, failed: 1 });
  const statesOf = async () => await Promise.all([...runs, ofItem].map((run) => world.stateOf(run)));
  expect(await statesOf()).toEqual(["queued", "running", "queued", "queued"]);
  expect(world.world.eventsOf("loop.subject_failed")).toMatchObject([{ subject: `job ${runs[1].jobId}`, message: inTheWay }]);
  // Still locked: still no loop waits for it.
  expect(await world.tick()).toMatchObject({ settled: 0, failed: 1 });
  await release();
  expect(await world.tick()).toMatchObject({ settled: 1, failed: 0 });
  expect(await statesOf()).toEqual(Array(4).fill("queued"));

  // The same for the write after the flip: the item's own row.
  await world.store.runs.clearBlocks([{ jobId: ofItem.jobId, runId: ofItem.runId, proof: "test", actor: "test" }]);
  const again = await world.start({ queue: "p/prep" });
  const last = await world.store.items.get(item.id);
  world.die(again);
  await world.tick();
  await lock("visits", present(last).visitId);
  expect(await world.tick()).toMatchObject({ settled: 0, failed: 1 });
  await release();
  expect(await world.tick()).toMatchObject({ settled: 1, failed: 0 });
  for (const { message } of world.world.eventsOf("loop.subject_failed")) expect(message).toEqual(inTheWay);
  expect(await world.store.upkeep.checkInvariants()).toEqual([]);
});

test("nor from moving the other runs' checks; and an exit that it cannot record is recorded with the next tick", async () => {
  const { world, lock, release } = await open();
  const [held, alsoHeld, free] = [await world.running(), await world.running(), await world.running()];
  await lock("live", held.runId, alsoHeld.runId);
  const checkAt = world.now;
  // A write that waited for the row would reject.
  expect(await world.store.runs.moveChecks([held, free].map(({ runId, ownerEpoch }) => ({ runId, ownerEpoch, checkAt })))).toEqual([
    free.runId,
  ]);
  const exitOf = ({ runId, ownerEpoch }: typeof held) => ({ runId, ownerEpoch, exitCode: 0, checkAt });
  await world.tick();
  // A write that waits for the row is still waiting when one that does not has its answer.
  let hasWaited = false;
  const waiting = world.store.runs.recordExit(exitOf(alsoHeld)).finally(() => {
    hasWaited = true;
  });
  const exit = exitOf(held);
  await expect(world.store.runs.recordExit(exit, { unlessLocked: true })).rejects.toMatchObject({ code: "unavailable", retryable: true });
  expect(hasWaited).toBe(false);
  await release();
  await waiting.catch(() => undefined);
  expect(await world.store.runs.recordExit(exit, { unlessLocked: true })).toEqual({ kind: "ok" });
});
