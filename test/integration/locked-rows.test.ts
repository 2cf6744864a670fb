import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { chain } from "../support/loop-world.ts";
import { createDatabase } from "../support/postgres.ts";
import { RepairWorld } from "../support/repair-world.ts";

const seconds = (n: number): number => n * 1000;
/** Well below one `lock_timeout` on an idle machine, and far from the four that a write waits in all on a busy one. */
const soonMs = seconds(3);

/** A world on a real server, and another connection that holds rows as a stuck client would. */
async function open() {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const world = await RepairWorld.open([chain("p", ["prep"])], { url: database.url });
  const other = new pg.Client({ connectionString: database.url, options: "-c search_path=wakeful" });
  await other.connect();
  onTestFinished(() => other.end());
  return {
    world,
    lock: async (text: string) => {
      await other.query("begin");
      expect((await other.query(`${text} for update`)).rowCount).toBe(1);
    },
    release: async () => {
      await other.query("rollback");
    },
    tick: async () => {
      const before = performance.now();
      const report = await world.tick();
      expect(performance.now() - before).toBeLessThan(soonMs);
      return report;
    },
  };
}

test("one row that somebody else holds keeps the reaper from nothing else: the others are settled, and that one with the next tick", async () => {
  const { world, lock, release, tick } = await open();
  const item = await world.addItem("p");
  const runs = [await world.running(), await world.running(), await world.running()] as const;
  const ofItem = await world.start({ queue: "p/prep" });
  for (const run of [...runs, ofItem]) world.die(run);
  await tick();
  await lock(`select id from jobs where id = ${runs[1].jobId}`);
  expect(await tick()).toMatchObject({ settled: 3, failed: 1 });
  const statesOf = async () => await Promise.all([...runs, ofItem].map((run) => world.stateOf(run)));
  expect(await statesOf()).toEqual(["queued", "running", "queued", "queued"]);
  expect(world.world.eventsOf("loop.subject_failed")).toMatchObject([{ subject: `job ${runs[1].jobId}` }]);
  // Still held: still nobody waits for it.
  expect(await tick()).toMatchObject({ settled: 0, failed: 1 });
  await release();
  expect(await tick()).toMatchObject({ settled: 1, failed: 0 });
  expect(await statesOf()).toEqual(Array(4).fill("queued"));

  // The same of what follows from the flip: the item's own row.
  await world.store.runs.clearBlocks([{ jobId: ofItem.jobId, runId: ofItem.runId, proof: "test", actor: "test" }]);
  const again = await world.start({ queue: "p/prep" });
  const last = await world.store.items.get(item.id);
  world.die(again);
  await tick();
  await lock(`select id from visits where id = ${last?.visitId}`);
  expect(await tick()).toMatchObject({ settled: 0, failed: 1 });
  await release();
  expect(await tick()).toMatchObject({ settled: 1, failed: 0 });
  expect(await world.store.upkeep.checkInvariants()).toEqual([]);
});

test("nor from moving the other runs' checks; and an exit that it cannot record is recorded with the next tick", async () => {
  const { world, lock, release, tick } = await open();
  const [held, free] = [await world.running(), await world.running()];
  await lock(`select id from runs where id = ${held.runId}`);
  const checkAt = world.now;
  const before = performance.now();
  expect(await world.store.runs.moveChecks([held, free].map(({ runId, ownerEpoch }) => ({ runId, ownerEpoch, checkAt })))).toEqual([
    free.runId,
  ]);
  const exit = { runId: held.runId, ownerEpoch: held.ownerEpoch, exitCode: 0, checkAt };
  await expect(world.store.runs.recordExit(exit, { unlessLocked: true })).rejects.toMatchObject({ code: "unavailable", retryable: true });
  expect(performance.now() - before).toBeLessThan(soonMs);
  await tick();
  await release();
  expect(await world.store.runs.recordExit(exit, { unlessLocked: true })).toEqual({ kind: "ok" });
});
