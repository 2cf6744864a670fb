import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chain, type LoopWorld, loopWorld } from "../../test/support/loop-world.ts";
import type { ItemState } from "../domain/lifecycles/item.ts";
import { directAccess } from "../files/foreign/path-operation.ts";
import type { ItemRow } from "../store/port/items.ts";
import { holdsUnkeptSource, SourceKeeper } from "./kept-source.ts";

interface World extends LoopWorld {
  readonly keeper: SourceKeeper;
  readonly file: string;
  item(state: ItemState, overrides?: Partial<ItemRow>): ItemRow;
}

async function sourceWorld(): Promise<World> {
  const world = await loopWorld([chain("p", ["prep"], { intake: {} })]);
  const { registry, paths, baseDir, store } = world;
  const file = join(paths.workDir, "book", "input", "a.cbz");
  mkdirSync(join(paths.workDir, "book", "input"), { recursive: true });
  writeFileSync(file, "content");
  const first = registry.entry("p", "prep");
  if (first === undefined) throw new Error("the pipeline has no first stage");
  const input = JSON.stringify({ file, name: "a.cbz", sizeBytes: 7, sha256: "0" });
  const { item } = await store.items.add({ pipeline: "p", key: "book", dir: "book", input, first, actor: "test" });
  return {
    ...world,
    file,
    keeper: new SourceKeeper({ registry, workDir: paths.workDir, baseDir, access: directAccess }),
    item: (state, overrides = {}) => ({ ...item, state, ...overrides }),
  };
}

test("the source of an item that is done is in the archive, and still in its work directory", async () => {
  const world = await sourceWorld();
  expect(await world.keeper.keep(world.item("done"))).toBe(true);
  expect(readFileSync(join(world.baseDir, "archive", "a.cbz"), "utf8")).toBe("content");
  expect(existsSync(world.file)).toBe(true);
  await world.keeper.keep(world.item("done"));
  expect(readdirSync(join(world.baseDir, "archive"))).toEqual(["a.cbz"]);
});

test("the source of a failed item is in the error folder with the reason, and moves to the archive when the item is done later", async () => {
  const world = await sourceWorld();
  await world.keeper.keep(world.item("failed", { error: "exit code 1" }));
  expect(readdirSync(join(world.baseDir, "error")).sort()).toEqual(["a.cbz", "a.cbz.reason.json"]);
  expect(JSON.parse(readFileSync(join(world.baseDir, "error", "a.cbz.reason.json"), "utf8"))).toMatchObject({
    reason: "exit code 1",
    state: "failed",
  });
  await world.keeper.keep(world.item("done"));
  expect([readdirSync(join(world.baseDir, "error")), readdirSync(join(world.baseDir, "archive"))]).toEqual([[], ["a.cbz"]]);
});

test("a crash between the archive and the note of it keeps one file", async () => {
  const world = await sourceWorld();
  await world.keeper.keep(world.item("done"));
  rmSync(join(world.paths.workDir, "book", ".source.json"));
  expect(await holdsUnkeptSource(join(world.paths.workDir, "book"))).toBe(true);
  await world.keeper.keep(world.item("done"));
  expect(readdirSync(join(world.baseDir, "archive"))).toEqual(["a.cbz"]);
});

test("another file of the same name in the archive is not replaced", async () => {
  const world = await sourceWorld();
  mkdirSync(join(world.baseDir, "archive"));
  writeFileSync(join(world.baseDir, "archive", "a.cbz"), "someone else's");
  await world.keeper.keep(world.item("done"));
  expect(readFileSync(join(world.baseDir, "archive", "a.cbz"), "utf8")).toBe("someone else's");
  expect(readFileSync(join(world.baseDir, "archive", "a~2.cbz"), "utf8")).toBe("content");
});

test("an input outside the item's own folder, or replaced by a link, is never given away", async () => {
  const world = await sourceWorld();
  const outside = world.item("done", { input: JSON.stringify({ file: "/etc/hostname", name: "a", sizeBytes: 1, sha256: "" }) });
  expect(await world.keeper.keep(outside)).toBe(true);
  rmSync(world.file);
  symlinkSync("/etc/hostname", world.file);
  expect(await world.keeper.keep(world.item("done"))).toBe(true);
  expect(existsSync(join(world.baseDir, "archive"))).toBe(false);
});

test("without a pipeline that names the folders nothing is removed", async () => {
  const world = await sourceWorld();
  expect(await world.keeper.keep(world.item("done", { pipeline: "gone" }))).toBe(false);
});
