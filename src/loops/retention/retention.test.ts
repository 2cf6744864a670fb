import { spawnSync } from "node:child_process";
import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { chain, type LoopWorld, loopWorld } from "../../../test/support/loop-world.ts";
import { skipTest } from "../../../test/support/skips.ts";
import { claimOne, failure, retried, startRun, success } from "../../../test/support/store-rows.ts";
import { asHostId } from "../../domain/ids.ts";
import { hours } from "../../domain/time.ts";
import { directAccess } from "../../files/foreign/path-operation.ts";
import { SourceKeeper } from "../../item-files/kept-source.ts";
import { makeLifePipe } from "../../processes/run-folder/life-pipe.ts";
import type { ItemRow } from "../../store/port/items.ts";
import type { ClaimedRun } from "../../store/port/runs.ts";
import type { Loop } from "../skeleton/loop.ts";
import { Retention, type RetentionDeps, type RetentionPolicy } from "./retention.ts";

const dayMs = hours(24);
const policy: RetentionPolicy = { finishedRowsMs: 30 * dayMs, logsMs: 14 * dayMs, workDirsDays: 7, duplicatesMs: 30 * dayMs };

interface World extends LoopWorld {
  readonly loop: Loop;
  restart(overrides?: Partial<RetentionDeps>): Loop;
}

async function retentionWorld(overrides: Partial<RetentionPolicy> = {}): Promise<World> {
  const world = await loopWorld([chain("p", ["prep"], { intake: {} })]);
  const { store, paths, registry, baseDir, clock } = world;
  const sources = new SourceKeeper({ registry, access: directAccess, workDir: paths.workDir, baseDir });
  const restart = (more: Partial<RetentionDeps> = {}): Loop =>
    new Retention({
      store,
      hostId: asHostId("host-a"),
      paths,
      sources,
      alert: world.alert,
      policy: () => ({ ...policy, ...overrides }),
      wall: () => clock.now(),
      ...more,
    });
  return { ...world, restart, loop: restart() };
}

async function addItem(world: World, key: string): Promise<ItemRow> {
  const first = world.registry.entry("p", "prep");
  if (first === undefined) throw new Error("no first stage");
  const dir = folder(world, "work", key);
  mkdirSync(join(dir, "input"), { recursive: true });
  writeFileSync(join(dir, "input", "a.cbz"), `content of ${key}`);
  const input = JSON.stringify({ file: join(dir, "input", "a.cbz"), name: `${key}.cbz`, sizeBytes: 1, sha256: "" });
  return (await world.store.items.add({ pipeline: "p", key, dir: key, input, first, actor: "test" })).item;
}

async function runOnce(world: World, how: "done" | "failed" | "retry" | "held"): Promise<ClaimedRun> {
  const run = await claimOne(world.store, { queues: ["p/prep"] });
  await startRun(world.store, run);
  runFolder(world, run.runId);
  const settlement = {
    done: success(run, { advance: { kind: "finish" } }),
    failed: failure(run),
    retry: retried(run),
    held: failure(run, { disposition: "hold" }),
  }[how];
  await world.store.runs.settle([settlement]);
  return run;
}

const folder = (world: World, kind: "work" | "runs", name: string | number): string => join(world.paths.dataDir, kind, String(name));

function runFolder(world: World, name: string | number): string {
  const path = folder(world, "runs", name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "stdout.log"), "words");
  touch(world, path);
  return path;
}

/** Folders bear the test's time, as if they had been made then. */
function touch(world: World, path: string): void {
  utimesSync(path, world.clock.now() / 1000, world.clock.now() / 1000);
}

const works = (world: World): string[] => readdirSync(world.paths.workDir).toSorted();

test("a work directory goes when its item has been finished for the kept days, and its source is in the archive", async () => {
  const world = await retentionWorld();
  await addItem(world, "book");
  await runOnce(world, "done");
  world.clock.advance(7 * dayMs - 1);
  await world.tick(world.loop);
  expect(works(world)).toEqual(["book"]);
  world.clock.advance(1);
  await world.tick(world.loop);
  expect(works(world)).toEqual([]);
  expect(readdirSync(join(world.baseDir, "archive"))).toEqual(["book.cbz"]);
  expect(await world.store.items.byKey("p", "book")).toBeDefined();
});

test("nothing unfinished, held, blocked or named with a leading underscore ever goes", async () => {
  const world = await retentionWorld();
  await addItem(world, "held");
  const held = await runOnce(world, "held");
  await addItem(world, "retrying");
  const retrying = await runOnce(world, "retry");
  mkdirSync(folder(world, "work", "_staging/x"), { recursive: true });
  touch(world, folder(world, "work", "_staging"));
  world.clock.advance(400 * dayMs);
  await world.tick(world.loop);
  expect(works(world)).toEqual(["_staging", "held", "retrying"]);
  for (const { runId } of [held, retrying]) expect(existsSync(folder(world, "runs", runId))).toBe(true);
  expect(await world.store.runs.get(held.runId)).toBeDefined();
});

test("0 kept days remove the directory as soon as the item is finished", async () => {
  const world = await retentionWorld({ workDirsDays: 0 });
  await addItem(world, "book");
  await runOnce(world, "failed");
  expect(await world.tick(world.loop)).toMatchObject({ nextInMs: 60_000 });
  expect(works(world)).toEqual([]);
  expect(readdirSync(join(world.baseDir, "error")).toSorted()).toEqual(["book.cbz", "book.cbz.reason.json"]);
});

test("a work directory whose source cannot be returned is kept, with one alert", async () => {
  const world = await retentionWorld();
  await addItem(world, "book");
  await runOnce(world, "done");
  world.clock.advance(8 * dayMs);
  const loop = world.restart({ sources: { keep: async () => false } });
  await world.tick(loop);
  await world.tick(loop);
  expect(works(world)).toEqual(["book"]);
  expect((await world.store.outbox.due(10)).filter((entry) => entry.key.startsWith("retention."))).toMatchObject([{ revision: 1 }]);
});

test("an item that was run again while its directory was judged keeps it", async () => {
  const world = await retentionWorld();
  const item = await addItem(world, "book");
  await runOnce(world, "done");
  world.clock.advance(8 * dayMs);
  const keep = async (): Promise<boolean> => {
    const entry = world.registry.entry("p", "prep");
    if (entry !== undefined) await world.store.items.rerun(item.id, { entry, uncounted: [], actor: "test" });
    return true;
  };
  await world.tick(world.restart({ sources: { keep } }));
  expect(works(world)).toEqual(["book"]);
});

test("rows, logs and directories of what is long finished go together, a bounded page at a time", async () => {
  const world = await retentionWorld();
  for (const key of ["a", "b", "c"]) {
    await addItem(world, key);
    await runOnce(world, "done");
  }
  world.clock.advance(31 * dayMs);
  const loop = world.restart({ pageSize: 1, pagesMax: 2 });
  expect(await world.tick(loop)).toMatchObject({ nextInMs: 1_000 });
  expect(await world.store.items.list({ limit: 10 })).toHaveLength(1);
  await world.tick(loop);
  expect(await world.store.items.list({ limit: 10 })).toHaveLength(0);
  expect(works(world)).toEqual([]);
  expect(readdirSync(world.paths.runsDir)).toEqual([]);
  expect(readdirSync(join(world.baseDir, "archive")).toSorted()).toEqual(["a.cbz", "b.cbz", "c.cbz"]);
});

test("jobs that stay starve none behind them: a tick goes on where the one before ended, and a restart begins anew", async () => {
  const world = await retentionWorld();
  const { store, clock } = world;
  await store.jobs.enqueue({ queue: "p/prep", priority: 1, jobs: Array.from({ length: 2500 }, () => ({})) });
  const enqueueDone = async () => {
    await store.jobs.enqueue({ queue: "p/prep", jobs: [{}] });
    return await runOnce(world, "done");
  };
  const [first, second] = [await enqueueDone(), await enqueueDone()];
  clock.advance(31 * dayMs);
  const parts = { pageSize: 1, pagesMax: 1 };
  const loop = world.restart(parts);
  expect(await world.tick(loop)).toMatchObject({ nextInMs: 1_000 });
  expect(await store.jobs.get(first.jobId), "behind the page's end").toBeDefined();
  expect(await world.tick(loop)).toMatchObject({ nextInMs: 1_000 });
  expect(await store.jobs.get(first.jobId)).toBeUndefined();
  const restarted = world.restart(parts);
  await world.tick(restarted);
  expect(await store.jobs.get(second.jobId), "looked at again from the first").toBeDefined();
  await world.tick(restarted);
  expect(await store.jobs.get(second.jobId)).toBeUndefined();
  expect(await world.tick(restarted), "nothing is left behind it").toMatchObject({ nextInMs: undefined });
  expect((await store.upkeep.counts()).find(({ queue }) => queue === "p/prep")?.states).toEqual({ queued: 2500 });
});

test("a crash between the rows and their folders leaves orphans that the next tick removes", async () => {
  const world = await retentionWorld();
  await addItem(world, "book");
  const run = await runOnce(world, "done");
  touch(world, folder(world, "work", "book"));
  writeFileSync(join(folder(world, "work", "book"), ".source.json"), JSON.stringify({ where: "archive", path: "/x" }));
  touch(world, folder(world, "work", "book"));
  world.clock.advance(31 * dayMs);
  await world.store.upkeep.prune({ hostId: asHostId("host-a"), finishedBefore: world.clock.now(), limit: 100 });
  expect(existsSync(folder(world, "runs", run.runId))).toBe(true);
  await world.tick(world.loop);
  expect([works(world), readdirSync(world.paths.runsDir)]).toEqual([[], []]);
});

test("a folder that cannot be removed hinders no other of its page, and goes once it can be [F-8.15]", async (context) => {
  const world = await retentionWorld();
  const runs: ClaimedRun[] = [];
  for (const key of ["one", "two", "three"]) {
    await addItem(world, key);
    runs.push(await runOnce(world, "done"));
  }
  const stuck = folder(world, "runs", runs[1]?.runId ?? 0);
  mkdirSync(join(stuck, "mounted"));
  if (spawnSync("mount", ["-t", "tmpfs", "none", join(stuck, "mounted")]).status !== 0) skipTest(context, "nothing may be mounted here");
  onTestFinished(() => void spawnSync("umount", ["-l", join(stuck, "mounted")]));
  world.clock.advance(31 * dayMs);
  await world.tick(world.loop);
  expect(readdirSync(world.paths.runsDir)).toEqual([String(runs[1]?.runId)]);
  expect(world.eventsOf("loop.subject_failed")).toMatchObject([{ subject: stuck, message: expect.stringMatching(/EBUSY/) as string }]);
  expect(spawnSync("umount", [join(stuck, "mounted")]).status).toBe(0);
  touch(world, stuck);
  world.clock.advance(2 * dayMs);
  await world.tick(world.loop);
  expect(readdirSync(world.paths.runsDir)).toEqual([]);
});

test("an orphaned work directory that holds an unreturned source is kept, with an alert", async () => {
  const world = await retentionWorld();
  mkdirSync(folder(world, "work", "orphan/input"), { recursive: true });
  touch(world, folder(world, "work", "orphan"));
  world.clock.advance(400 * dayMs);
  await world.tick(world.loop);
  expect(works(world)).toEqual(["orphan"]);
  expect((await world.store.outbox.due(10)).map((entry) => entry.key)).toEqual(["retention.orphan:orphan"]);
});

test("logs of ended runs go at their own age, while their rows stay", async () => {
  const world = await retentionWorld();
  await addItem(world, "book");
  const run = await runOnce(world, "done");
  world.clock.advance(14 * dayMs);
  await world.tick(world.loop);
  expect(existsSync(folder(world, "runs", run.runId))).toBe(false);
  expect(await world.store.runs.get(run.runId)).toBeDefined();
});

test("logs of a plain job stay while it is unfinished, or while its last run is still being stopped", async () => {
  const world = await retentionWorld();
  await world.store.jobs.enqueue({ queue: "p/prep", maxAttempts: 5, jobs: [{}, {}] });
  const unfinished = await runOnce(world, "held");
  const blocked = await claimOne(world.store, { queues: ["p/prep"] });
  await startRun(world.store, blocked);
  runFolder(world, blocked.runId);
  await world.store.jobs.cancel(blocked.jobId, { actor: "test", reason: "no more", stopBy: world.clock.now() });
  world.clock.advance(400 * dayMs);
  await world.tick(world.loop);
  expect(readdirSync(world.paths.runsDir).toSorted()).toEqual([String(unfinished.runId), String(blocked.runId)].toSorted());
});

test("a run folder without a row goes only when nothing holds its life pipe, and not while it is new", async () => {
  const world = await retentionWorld();
  const alive = runFolder(world, 901);
  const released = runFolder(world, 902);
  const without = runFolder(world, 903);
  const foreign = runFolder(world, "notes");
  for (const dir of [alive, released]) {
    await makeLifePipe(dir);
    touch(world, dir);
  }
  // Open for reading and writing, as a wrapper holds it.
  const held = openSync(join(alive, "alive"), constants.O_RDWR);
  world.clock.advance(hours(1) - 1);
  await world.tick(world.loop);
  expect(readdirSync(world.paths.runsDir)).toHaveLength(4);
  world.clock.advance(1);
  await world.tick(world.loop);
  expect(existsSync(released)).toBe(false);
  expect(existsSync(without)).toBe(false);
  expect([existsSync(alive), existsSync(foreign)]).toEqual([true, true]);
  closeSync(held);
});

test("links are never followed: neither in a folder's place nor inside one", async () => {
  const world = await retentionWorld();
  const outside = join(world.baseDir, "outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "precious"), "x");
  symlinkSync(outside, folder(world, "work", "link"));
  symlinkSync(outside, folder(world, "runs", 904));
  await addItem(world, "book");
  symlinkSync(outside, join(folder(world, "work", "book"), "way-out"));
  await runOnce(world, "done");
  world.clock.advance(400 * dayMs);
  await world.tick(world.loop);
  expect(works(world)).toEqual(["link"]);
  expect(readdirSync(outside)).toEqual(["precious"]);
  expect(existsSync(folder(world, "runs", 904))).toBe(true);
});

test("a dry run removes nothing and says what it would remove", async () => {
  const world = await retentionWorld();
  await addItem(world, "book");
  await runOnce(world, "done");
  world.clock.advance(20 * dayMs);
  const report = await world.tick(world.loop, { dryRun: true });
  expect(report.would).toHaveLength(2);
  expect(works(world)).toEqual(["book"]);
  expect(existsSync(join(world.baseDir, "archive"))).toBe(false);
});

test("a duplicate whose decision was carried out goes at its own age; one that waits for a person, or for its turn, stays", async () => {
  const world = await retentionWorld({ duplicatesMs: 3 * dayMs });
  const { store, clock } = world;
  const add = (fileName: string): Promise<number> =>
    store.duplicates.add({ pipeline: "p", key: "k", existingItemId: 1 as never, fileName, path: `/held/${fileName}`, sizeBytes: 1 });
  const [waiting, decided, done, younger] = [await add("a"), await add("b"), await add("c"), await add("d")];
  for (const id of [decided, done, younger]) await store.duplicates.decide(id, "discard", "ana");
  await store.duplicates.finish(done);
  clock.advance(1);
  await store.duplicates.finish(younger);
  const left = async (): Promise<number[]> => (await store.duplicates.list(10)).map(({ id }) => id).toSorted((a, b) => a - b);
  clock.advance(3 * dayMs - 1);
  await world.tick(world.loop);
  expect(await left(), "exactly as old as the limit is not older").toEqual([waiting, decided, done, younger]);
  clock.advance(1);
  await world.tick(world.loop, { dryRun: true });
  expect(await left(), "a dry run removes nothing").toHaveLength(4);
  await world.tick(world.loop);
  expect(await left()).toEqual([waiting, decided, younger]);
  expect(world.eventsOf("retention.pruned")).toEqual([{ jobs: 0, items: 0, runs: 0, duplicates: 1 }]);
  clock.advance(400 * dayMs);
  await world.tick(world.loop);
  expect(await left()).toEqual([waiting, decided]);
});

test("duplicates go a bounded page at a time, and the next page soon", async () => {
  const world = await retentionWorld({ duplicatesMs: 0 });
  const { store, clock } = world;
  for (const fileName of ["a", "b", "c"]) {
    const id = await store.duplicates.add({
      pipeline: "p",
      key: "k",
      existingItemId: 1 as never,
      fileName,
      path: `/${fileName}`,
      sizeBytes: 1,
    });
    await store.duplicates.decide(id, "discard", "ana");
    await store.duplicates.finish(id);
  }
  clock.advance(1);
  const loop = world.restart({ pageSize: 2 });
  expect(await world.tick(loop)).toMatchObject({ settled: 2, nextInMs: 1_000 });
  expect(await world.tick(loop)).toMatchObject({ settled: 1 });
  expect(await store.duplicates.list(10)).toEqual([]);
});
