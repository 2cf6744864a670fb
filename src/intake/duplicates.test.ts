import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chain, type LoopWorld, loopWorld } from "../../test/support/loop-world.ts";
import { claimOne, failure, startRun, success } from "../../test/support/store-rows.ts";
import { asHostId } from "../domain/ids.ts";
import { directAccess } from "../files/foreign/path-operation.ts";
import type { IntakeDefinition } from "../pipelines/definition.ts";
import type { ItemRow } from "../store/port/items.ts";
import type { DuplicateRow } from "../store/port/records.ts";
import { type IntakeDeps, IntakeLoop } from "./intake-loop.ts";

let ids = 0;

interface World extends LoopWorld {
  readonly loop: IntakeLoop;
  readonly item: ItemRow;
  readonly restart: (overrides?: Partial<IntakeDeps>) => IntakeLoop;
}

/** A pipeline with one item, whose file is then dropped a second time. */
async function duplicateWorld(intake: Partial<IntakeDefinition> = {}): Promise<World> {
  const world = await loopWorld([chain("comics", ["prep", "ocr"], { intake })]);
  mkdirSync(join(world.baseDir, "in"), { recursive: true });
  const { store, registry, paths, baseDir } = world;
  const restart = (overrides: Partial<IntakeDeps> = {}): IntakeLoop =>
    new IntakeLoop({
      store,
      registry,
      paths,
      folders: { baseDir, access: directAccess },
      alert: world.alert,
      hostId: asHostId("host-a"),
      newId: () => `id${(ids += 1)}`,
      wall: () => 0,
      ...overrides,
    });
  const loop = restart();
  await drop(world, loop, "first.cbz");
  const [item] = await store.items.list({ limit: 1 });
  if (item === undefined) throw new Error("no item came of the first file");
  return { ...world, loop, item, restart };
}

async function drop(world: LoopWorld, loop: IntakeLoop, name: string): Promise<void> {
  writeFileSync(join(world.baseDir, "in", name), "content");
  await world.tick(loop);
  world.clock.advance(2_000);
  await world.tick(loop);
}

async function hold(world: World, name = "again.cbz"): Promise<DuplicateRow> {
  await drop(world, world.loop, name);
  const [duplicate] = await world.store.duplicates.list(1);
  if (duplicate === undefined) throw new Error("no duplicate was held");
  return duplicate;
}

async function endItem(world: World, how: "done" | "failed"): Promise<void> {
  const run = await claimOne(world.store, { queues: ["comics/prep"] });
  await startRun(world.store, run);
  await world.store.runs.settle([how === "done" ? success(run, { advance: { kind: "finish" } }) : failure(run)]);
  world.clock.advance(1_000);
}

const holdDir = (world: World): string => join(world.paths.dataDir, "hold", "duplicates", world.item.key);
const inputFile = (world: World): string => (JSON.parse(world.item.input) as { file: string }).file;
const stateOf = async (world: World): Promise<string | undefined> => (await world.store.items.get(world.item.id))?.state;
const visitsOf = async (world: World): Promise<string[]> =>
  (await world.store.items.visits(world.item.id)).map(({ stage, counts }) => `${stage}${counts ? "" : " (replaced)"}`);

test("a file that is an item already is held with its status and a report until somebody decides", async () => {
  const world = await duplicateWorld();
  const duplicate = await hold(world);
  expect(duplicate).toMatchObject({ existingItemId: world.item.id, fileName: "again.cbz", sizeBytes: 7, decision: null });
  expect(readFileSync(duplicate.path, "utf8")).toBe("content");
  expect(JSON.parse(readFileSync(join(holdDir(world), "status.json"), "utf8"))).toEqual({
    jobKey: world.item.key,
    state: "DUPLICATE_PENDING",
    updatedAt: "2026-01-01T00:00:04Z",
  });
  const report = JSON.parse(readFileSync(join(world.paths.dataDir, "reports", "duplicates", `${world.item.key}.json`), "utf8")) as object;
  expect(report).toMatchObject({
    incoming: { fileName: "again.cbz" },
    existing: { itemId: world.item.id },
    actions: ["USE_EXISTING_RESULT", "DISCARD", "FORCE_REPROCESS"],
  });
  expect(world.eventsOf("intake.duplicate_held")).toHaveLength(1);
  expect(await visitsOf(world)).toEqual(["prep"]);
  await world.tick(world.loop);
  expect(existsSync(duplicate.path)).toBe(true);
});

test("discard removes the file with its status and report", async () => {
  const world = await duplicateWorld();
  const duplicate = await hold(world);
  await world.store.duplicates.decide(duplicate.id, "discard", "tester");
  await world.tick(world.loop);
  expect(existsSync(holdDir(world))).toBe(false);
  expect(existsSync(join(world.paths.dataDir, "reports", "duplicates", `${world.item.key}.json`))).toBe(false);
  expect((await world.store.duplicates.list(1))[0]?.doneAt).not.toBeNull();
});

test("use_existing moves the file to the archive and runs nothing", async () => {
  const world = await duplicateWorld();
  const duplicate = await hold(world);
  await world.store.duplicates.decide(duplicate.id, "use_existing", "tester");
  await world.tick(world.loop);
  expect(readdirSync(join(world.baseDir, "archive"))).toEqual(["again.cbz"]);
  expect(await visitsOf(world)).toEqual(["prep"]);
  expect(existsSync(holdDir(world))).toBe(false);
});

test("reprocess really runs a finished item again from its first stage, with the new file in place", async () => {
  const world = await duplicateWorld();
  await endItem(world, "done");
  rmSync(inputFile(world));
  const duplicate = await hold(world);
  await world.store.duplicates.decide(duplicate.id, "reprocess", "tester");
  await world.tick(world.loop);
  expect(await stateOf(world)).toBe("active");
  expect(await visitsOf(world)).toEqual(["prep (replaced)", "prep"]);
  expect(readFileSync(inputFile(world), "utf8")).toBe("content");
  expect(existsSync(holdDir(world))).toBe(false);
  await world.tick(world.loop);
  expect(await visitsOf(world)).toHaveLength(2);
});

test("reprocess waits while the item is unfinished, and happens when it has failed", async () => {
  const world = await duplicateWorld();
  const duplicate = await hold(world);
  await world.store.duplicates.decide(duplicate.id, "reprocess", "tester");
  await world.tick(world.loop);
  await world.tick(world.loop);
  expect(await visitsOf(world)).toEqual(["prep"]);
  expect(existsSync(duplicate.path)).toBe(true);
  await endItem(world, "failed");
  await world.tick(world.loop);
  expect(await stateOf(world)).toBe("active");
  expect(await visitsOf(world)).toEqual(["prep (replaced)", "prep"]);
});

test("two duplicates decided together run their item again once", async () => {
  const world = await duplicateWorld();
  await endItem(world, "done");
  const first = await hold(world, "one.cbz");
  const second = await hold(world, "two.cbz");
  for (const { id } of [first, second]) await world.store.duplicates.decide(id, "reprocess", "tester");
  await world.tick(world.loop);
  await endItem(world, "done");
  await world.tick(world.loop);
  expect(await visitsOf(world)).toEqual(["prep (replaced)", "prep"]);
  expect(readdirSync(join(world.baseDir, "archive"))).toEqual(["two.cbz"]);
});

for (const [crash, name] of [
  ["before the rerun", "rerun"],
  ["after the rerun, before it was written down", "finish"],
] as const) {
  test(`a crash in a reprocess ${crash} runs the item again exactly once`, async () => {
    const world = await duplicateWorld();
    await endItem(world, "done");
    const duplicate = await hold(world);
    await world.store.duplicates.decide(duplicate.id, "reprocess", "tester");
    const dies = async (): Promise<never> => await Promise.reject(new Error("crash"));
    const { items, duplicates } = world.store;
    const store = {
      ...world.store,
      items: name === "rerun" ? { ...items, rerun: dies } : items,
      duplicates: name === "finish" ? { ...duplicates, finish: dies } : duplicates,
    };
    await world.tick(world.restart({ store }));
    expect(world.eventsOf("loop.subject_failed")).toMatchObject([{ message: "crash" }]);
    // The item may have ended again before the next daemon looks.
    if (name === "finish") await endItem(world, "done");
    await world.tick(world.restart());
    expect(await visitsOf(world)).toEqual(["prep (replaced)", "prep"]);
    expect(readFileSync(inputFile(world), "utf8")).toBe("content");
    expect((await world.store.duplicates.list(1))[0]?.doneAt).not.toBeNull();
  });
}

test("a crash between the archive and its record neither loses nor doubles the file", async () => {
  const world = await duplicateWorld();
  const duplicate = await hold(world);
  await world.store.duplicates.decide(duplicate.id, "use_existing", "tester");
  const dies = async (): Promise<never> => await Promise.reject(new Error("crash"));
  await world.tick(world.restart({ store: { ...world.store, duplicates: { ...world.store.duplicates, finish: dies } } }));
  await world.tick(world.restart());
  expect(readdirSync(join(world.baseDir, "archive"))).toEqual(["again.cbz"]);
  expect((await world.store.duplicates.list(1))[0]?.doneAt).not.toBeNull();
});

test("a crash between the held file and its row holds it once", async () => {
  const world = await duplicateWorld();
  const dies = async (): Promise<never> => await Promise.reject(new Error("crash"));
  const { duplicates } = world.store;
  await drop(world, world.restart({ store: { ...world.store, duplicates: { ...duplicates, add: dies } } }), "again.cbz");
  await world.tick(world.restart());
  expect(await duplicates.list(10)).toHaveLength(1);
  expect(readdirSync(holdDir(world)).filter((name) => name !== "status.json")).toHaveLength(1);
});

test("a pipeline's policy decides at once, and a crash does not forget it", async () => {
  const world = await duplicateWorld({ duplicates: "reprocess" });
  await endItem(world, "done");
  const dies = async (): Promise<never> => await Promise.reject(new Error("crash"));
  const { duplicates } = world.store;
  await drop(world, world.restart({ store: { ...world.store, duplicates: { ...duplicates, decide: dies } } }), "again.cbz");
  expect(await stateOf(world)).toBe("done");
  await world.tick(world.restart());
  expect(await visitsOf(world)).toEqual(["prep (replaced)", "prep"]);
});

for (const [action, decision] of [
  ["USE_EXISTING_RESULT", "use_existing"],
  ["DISCARD", "discard"],
  ["FORCE_REPROCESS", "reprocess"],
] as const) {
  test(`the compatible decision file with ${action} decides`, async () => {
    const world = await duplicateWorld();
    await endItem(world, "done");
    await hold(world);
    writeFileSync(join(holdDir(world), "decision.json"), JSON.stringify({ action, nonce: "1" }));
    await world.tick(world.loop);
    expect((await world.store.duplicates.list(1))[0]).toMatchObject({ decision, doneAt: expect.any(Number) });
    expect(existsSync(holdDir(world))).toBe(false);
  });
}
