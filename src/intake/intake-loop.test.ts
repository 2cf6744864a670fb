import { createHash } from "node:crypto";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { makeFifo } from "../../test/support/fifo.ts";
import { chain, type LoopWorld, loopWorld } from "../../test/support/loop-world.ts";
import { until } from "../../test/support/until.ts";
import { asHostId } from "../domain/ids.ts";
import { directAccess } from "../files/foreign/path-operation.ts";
import type { IntakeDefinition } from "../pipelines/definition.ts";
import { intakeKey } from "../pipelines/intake-key.ts";
import type { ItemRow } from "../store/port/items.ts";
import { type IntakeDeps, IntakeLoop } from "./intake-loop.ts";
import { WatchedFolder } from "./watched-folder.ts";

let ids = 0;

async function intakeWorld(
  intake: Partial<IntakeDefinition> = {},
): Promise<LoopWorld & { loop: IntakeLoop; restart: (deps?: Partial<IntakeDeps>) => IntakeLoop }> {
  const world = await loopWorld([chain("comics", ["prep", "ocr"], { intake })]);
  mkdirSync(join(world.baseDir, "in"), { recursive: true });
  const restart = (overrides: Partial<IntakeDeps> = {}): IntakeLoop =>
    new IntakeLoop({
      store: world.store,
      registry: world.registry,
      paths: world.paths,
      folders: { baseDir: world.baseDir, access: directAccess },
      alert: world.alert,
      hostId: asHostId("host-a"),
      newId: () => `id${(ids += 1)}`,
      wall: () => Date.UTC(2026, 0, 1),
      ...overrides,
    });
  return { ...world, loop: restart(), restart };
}

type World = Awaited<ReturnType<typeof intakeWorld>>;

/** Two looks, far enough apart for a file that does not change. */
async function takeAll(world: World, loop: IntakeLoop = world.loop): Promise<void> {
  await world.tick(loop);
  world.clock.advance(2_000);
  await world.tick(loop);
}

const dropped = (world: World, name: string | Buffer, content = "PK comic"): void =>
  writeFileSync(Buffer.concat([Buffer.from(`${world.baseDir}/in/`), Buffer.from(name)]), content);
const itemsOf = async (world: World): Promise<readonly ItemRow[]> => await world.store.items.list({ limit: 100 });
const labelsOf = async (world: World): Promise<readonly string[]> => (await itemsOf(world)).map((item) => item.label ?? "").toSorted();
const stagingOf = (world: World): string[] =>
  existsSync(join(world.paths.workDir, "_staging")) ? readdirSync(join(world.paths.workDir, "_staging")) : [];
const inputOf = (item: ItemRow | undefined): { file: string; name: string; sizeBytes: number; sha256: string } =>
  JSON.parse(item?.input ?? "null") as { file: string; name: string; sizeBytes: number; sha256: string };
const read = (...parts: string[]): string => readFileSync(join(...parts), "utf8");

test("a file is taken once it has not changed for the stable time, and its item's key is its content and profile", async () => {
  const world = await intakeWorld();
  dropped(world, "a b.cbz");
  const first = await world.tick(world.loop);
  expect(first).toMatchObject({ settled: 0, nextInMs: 2_000 });
  world.clock.advance(1_000);
  appendFileSync(join(world.baseDir, "in", "a b.cbz"), " grows");
  await world.tick(world.loop);
  world.clock.advance(1_500);
  await world.tick(world.loop);
  expect(await itemsOf(world)).toEqual([]);
  world.clock.advance(500);
  await world.tick(world.loop);

  const [item] = await itemsOf(world);
  const { file, name, sizeBytes, sha256 } = inputOf(item);
  expect(item).toMatchObject({ pipeline: "comics", label: "a b.cbz", state: "active", stage: "prep" });
  expect(item?.key).toBe(intakeKey({ sha256, profile: { lang: "eng" } }));
  expect(file).toBe(join(world.paths.workDir, item?.dir ?? "", "input", "a b.cbz"));
  expect([name, sizeBytes, read(file)]).toEqual(["a b.cbz", 14, "PK comic grows"]);
  expect(readdirSync(join(world.baseDir, "in"))).toEqual([]);
  expect(stagingOf(world)).toEqual([]);
  expect(world.eventsOf("item.added")).toHaveLength(1);
});

test("a .part file is never taken, and at once when it is renamed", async () => {
  const world = await intakeWorld({ match: ["*"] });
  dropped(world, "book.cbz.part");
  await takeAll(world);
  await takeAll(world);
  expect(await itemsOf(world)).toEqual([]);
  renameSync(join(world.baseDir, "in", "book.cbz.part"), join(world.baseDir, "in", "book.cbz"));
  await world.tick(world.loop);
  expect((await itemsOf(world)).map((item) => item.label)).toEqual(["book.cbz"]);
});

test("names that match no glob, links, folders and FIFOs are left alone, and reported once", async () => {
  const world = await intakeWorld();
  const dir = join(world.baseDir, "in");
  dropped(world, "notes.txt");
  mkdirSync(join(dir, "folder.cbz"));
  symlinkSync("/etc/hostname", join(dir, "link.cbz"));
  makeFifo(join(dir, "pipe.cbz"));
  await takeAll(world);
  await takeAll(world);
  expect(await itemsOf(world)).toEqual([]);
  expect(readdirSync(dir).sort()).toEqual(["folder.cbz", "link.cbz", "notes.txt", "pipe.cbz"]);
  expect(
    world
      .eventsOf("intake.waited")
      .map(({ fileName }) => fileName)
      .sort(),
  ).toEqual(["folder.cbz", "link.cbz", "pipe.cbz"]);
});

test("a file that is too large is moved to the error folder with the reason", async () => {
  const world = await intakeWorld({ maxBytes: 10 });
  dropped(world, "big.cbz", "x".repeat(11));
  await takeAll(world);
  expect(await itemsOf(world)).toEqual([]);
  expect(read(world.baseDir, "error", "big.cbz")).toHaveLength(11);
  expect(JSON.parse(read(world.baseDir, "error", "big.cbz.reason.json"))).toMatchObject({
    fileName: "big.cbz",
    code: "input_rejected_size",
    reason: "it has 11 bytes, at most 10 are taken",
  });
  expect(world.loop.details()).toMatchObject({ input_rejected_size: 1, taken: 0 });
  expect(world.eventsOf("intake.rejected")).toHaveLength(1);
});

test("a file with a wrong signature is refused, one with any of the right ones is taken", async () => {
  const world = await intakeWorld({ signature: ["504b0304", "526172"] });
  dropped(world, "zip.cbz", "PK\u0003\u0004 zip");
  dropped(world, "rar.cbz", "Rar!");
  dropped(world, "text.cbz", "hello");
  dropped(world, "empty.cbz", "");
  await takeAll(world);
  expect(await labelsOf(world)).toEqual(["rar.cbz", "zip.cbz"]);
  expect(readdirSync(join(world.baseDir, "error")).sort()).toEqual([
    "empty.cbz",
    "empty.cbz.reason.json",
    "text.cbz",
    "text.cbz.reason.json",
  ]);
  expect(world.loop.details()).toMatchObject({ input_rejected_signature: 2 });
});

test("two refused files of one name are both kept", async () => {
  const world = await intakeWorld({ maxBytes: 1 });
  dropped(world, "x.cbz", "first");
  await takeAll(world);
  dropped(world, "x.cbz", "second");
  await takeAll(world);
  expect([read(world.baseDir, "error", "x.cbz"), read(world.baseDir, "error", "x~2.cbz")]).toEqual(["first", "second"]);
});

test("a crash between the reason and the move of a refused file leaves neither lost", async () => {
  const world = await intakeWorld({ maxBytes: 1 });
  mkdirSync(join(world.baseDir, "error"));
  writeFileSync(join(world.baseDir, "error", "x.cbz.reason.json"), "{}");
  dropped(world, "x.cbz", "content");
  await takeAll(world);
  expect(readdirSync(join(world.baseDir, "error")).sort()).toEqual(["x.cbz", "x.cbz.reason.json"]);
  expect(JSON.parse(read(world.baseDir, "error", "x.cbz.reason.json"))).toMatchObject({ code: "input_rejected_size" });
});

test("with too little disk a file waits, is reported once with an alert, and is taken when there is room", async () => {
  const world = await intakeWorld();
  let free = 15;
  const loop = world.restart({ freeBytes: async () => free });
  dropped(world, "a.cbz", "12345678");
  await takeAll(world, loop);
  await takeAll(world, loop);
  expect(await itemsOf(world)).toEqual([]);
  expect(readdirSync(join(world.baseDir, "in"))).toEqual(["a.cbz"]);
  expect(loop.details()).toMatchObject({ disk_error: 1, waiting_for_disk: 1 });
  expect((await world.store.outbox.due(10)).filter((entry) => entry.kind === "alert").map((entry) => entry.key)).toEqual([
    "intake.disk:comics",
  ]);
  free = 16;
  await world.tick(loop);
  expect(await itemsOf(world)).toHaveLength(1);
  expect(loop.details()).toMatchObject({ waiting_for_disk: 0 });
});

test("hostile names are shown escaped, stored as a label and never become a path", async () => {
  const world = await intakeWorld({ match: ["*"] });
  const names = [
    Buffer.from("-rf.cbz"),
    Buffer.from("new\nline.cbz"),
    Buffer.from([0xff, 0xfe, 0x2e, 0x63]),
    Buffer.from(`${"ü".repeat(125)}.cbz`),
    Buffer.from("$(id).cbz"),
  ];
  for (const [index, name] of names.entries()) dropped(world, name, `content ${index}`);
  await takeAll(world);
  const items = (await itemsOf(world)).toSorted((a, b) => a.id - b.id);
  expect(items).toHaveLength(names.length);
  const labels = items.map((item) => item.label);
  expect(labels).toEqual(expect.arrayContaining(["-rf.cbz", "new\\u{a}line.cbz", "\\xff\\xfe.c", "$(id).cbz"]));
  for (const item of items) {
    const { file } = inputOf(item);
    const name = file.slice(join(world.paths.workDir, item.dir, "input").length + 1);
    expect(name).toMatch(/^[^-./\\\n$`][^/\\\n$`]*$/);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
    expect(read(file)).toMatch(/^content/);
  }
});

test("one file that cannot be read does not stop the others, and is not reported at every tick", async () => {
  const world = await intakeWorld();
  dropped(world, "a.cbz", "one");
  dropped(world, "b.cbz", "two");
  let failing = true;
  const add = world.store.items.add.bind(world.store.items);
  const items = {
    ...world.store.items,
    add: async (item: Parameters<typeof add>[0]) => {
      if (failing && item.label === "a.cbz") throw new Error("the store is busy");
      return await add(item);
    },
  };
  const loop = world.restart({ store: { ...world.store, items } });
  await takeAll(world, loop);
  await world.tick(loop);
  expect((await itemsOf(world)).map((item) => item.label)).toEqual(["b.cbz"]);
  const told = world.eventsOf("loop.subject_failed").map(({ subject }) => subject);
  expect(new Set(told).size).toBe(told.length);
  failing = false;
  await world.tick(loop);
  expect(await labelsOf(world)).toEqual(["a.cbz", "b.cbz"]);
  expect(stagingOf(world)).toEqual([]);
});

test.each([
  ["before it is looked into", { signature: ["504b"] }, "look"],
  ["before it is moved", {}, "move"],
  ["before it is refused", { maxBytes: 1 }, "look"],
] as const)("a file that somebody else takes %s is nobody's failure, and nothing is left of it [F-8.14]", async (_, intake, when) => {
  const world = await intakeWorld(intake);
  dropped(world, "a.cbz");
  dropped(world, "b.cbz");
  const takeAway = (): void => rmSync(join(world.baseDir, "in/a.cbz"), { force: true });
  // The second daemon: between the listing and the step.
  const newId = (): string => {
    if (when === "move") takeAway();
    return `id${(ids += 1)}`;
  };
  const loop = world.restart({ newId });
  await world.tick(loop);
  world.clock.advance(2_000);
  const listed = WatchedFolder.prototype.scan;
  const scan = vi.spyOn(WatchedFolder.prototype, "scan").mockImplementation(async function (this: WatchedFolder, now) {
    const found = await Reflect.apply(listed, this, [now]);
    if (when === "look") takeAway();
    return found;
  });
  onTestFinished(() => scan.mockRestore());
  await world.tick(loop);
  expect(world.eventsOf("loop.subject_failed")).toEqual([]);
  expect(world.eventsOf("intake.file_gone")).toEqual([{ pipeline: "comics", fileName: "a.cbz" }]);
  expect(stagingOf(world)).toEqual([]);
  expect(readdirSync(join(world.baseDir, "in"))).toEqual([]);
});

/** A store of the intake that fails from some point on, leaving what a crash of the daemon would leave. */
function dyingStore(world: World, crash: "reading" | "adding" | "added"): IntakeDeps["store"] {
  const real = world.store.items;
  const items: typeof real = {
    ...real,
    byKey: async (pipeline, key) => {
      if (crash === "reading") throw new Error("crash");
      return await real.byKey(pipeline, key);
    },
    add: async (item) => {
      if (crash === "adding") throw new Error("crash");
      const added = await real.add(item);
      if (crash === "added") throw new Error("crash");
      return added;
    },
  };
  return { ...world.store, items };
}

async function expectOneItem(world: World): Promise<void> {
  const found = await itemsOf(world);
  expect(found).toHaveLength(1);
  expect(read(inputOf(found[0]).file)).toBe("PK comic");
  expect(await world.store.duplicates.list(10)).toEqual([]);
  expect(stagingOf(world)).toEqual([]);
  expect(readdirSync(join(world.baseDir, "in"))).toEqual([]);
}

test("a crash before the file is moved into staging leaves it to be taken", async () => {
  const world = await intakeWorld();
  dropped(world, "a.cbz");
  const staging = join(world.paths.workDir, "_staging", "host_a-old");
  mkdirSync(staging, { recursive: true });
  writeFileSync(join(staging, "origin.json"), JSON.stringify({ pipeline: "comics", label: "a.cbz", path: "", fingerprint: "" }));
  await takeAll(world);
  await expectOneItem(world);
});

for (const [what, crash] of [
  ["after the move into staging, before the plan", "reading"],
  ["after the move into the work directory, before the item", "adding"],
  ["after the item, before staging is cleared", "added"],
] as const) {
  test(`a crash ${what} loses no file and makes one item`, async () => {
    const world = await intakeWorld();
    dropped(world, "a.cbz");
    await takeAll(world, world.restart({ store: dyingStore(world, crash) }));
    expect(stagingOf(world)).toHaveLength(1);
    await world.tick(world.restart());
    await expectOneItem(world);
  });
}

test("a crash after the plan, before the move into the work directory, loses no file and makes one item", async () => {
  const world = await intakeWorld();
  const sha256 = createHash("sha256").update("PK comic").digest("hex");
  const inTheWay = join(world.paths.workDir, intakeKey({ sha256, profile: { lang: "eng" } }));
  writeFileSync(inTheWay, "");
  dropped(world, "a.cbz");
  await takeAll(world);
  expect(readdirSync(join(world.paths.workDir, "_staging", stagingOf(world)[0] ?? "")).sort()).toEqual([
    "origin.json",
    "plan.json",
    "source",
  ]);
  rmSync(inTheWay);
  await world.tick(world.restart());
  await expectOneItem(world);
});

test("a crash that leaves only the staging folder, after the item's input is gone, is cleaned up without a failure", async () => {
  const world = await intakeWorld();
  dropped(world, "a.cbz");
  await takeAll(world, world.restart({ store: dyingStore(world, "added") }));
  const [item] = await itemsOf(world);
  rmSync(inputOf(item).file);
  await world.tick(world.restart());
  expect([stagingOf(world), (await itemsOf(world)).length]).toEqual([[], 1]);
});

test("a move to another disk that was cut short does not make the file a duplicate of itself", async () => {
  const world = await intakeWorld();
  dropped(world, "a.cbz");
  const original = join(world.baseDir, "in", "a.cbz");
  const { dev, ino, size, mtimeNs } = lstatSync(original, { bigint: true });
  const staging = join(world.paths.workDir, "_staging", "host_a-old");
  mkdirSync(staging, { recursive: true });
  const origin = {
    pipeline: "comics",
    label: "a.cbz",
    path: Buffer.from(original).toString("base64"),
    fingerprint: `${dev}:${ino}:${size}:${mtimeNs}`,
  };
  writeFileSync(join(staging, "origin.json"), JSON.stringify(origin));
  copyFileSync(original, join(staging, "source"));
  await takeAll(world);
  await expectOneItem(world);
});

test("what another host has in staging is left alone", async () => {
  const world = await intakeWorld();
  mkdirSync(join(world.paths.workDir, "_staging", "host_b-1"), { recursive: true });
  await world.tick(world.loop);
  expect(stagingOf(world)).toEqual(["host_b-1"]);
});

test("two pipelines that watch the same content have work directories of their own", async () => {
  const intake = { profile: {} };
  const world = await loopWorld([
    chain("one", ["a"], { intake: { ...intake, watch: "in1" } }),
    chain("two", ["a"], { intake: { ...intake, watch: "in2" } }),
  ]);
  const { store, registry, paths, baseDir } = world;
  const loop = new IntakeLoop({
    store,
    registry,
    paths,
    folders: { baseDir, access: directAccess },
    alert: world.alert,
    hostId: asHostId("h"),
    newId: () => `id${(ids += 1)}`,
    wall: () => 0,
  });
  for (const dir of ["in1", "in2"]) {
    mkdirSync(join(baseDir, dir));
    writeFileSync(join(baseDir, dir, "x.cbz"), "same");
  }
  await world.tick(loop);
  world.clock.advance(2_000);
  await world.tick(loop);
  const [two, one] = await store.items.list({ limit: 10 });
  expect(two?.key).toBe(one?.key);
  expect(two?.dir).toBe(`${one?.key}~two`);
  expect([read(inputOf(one).file), read(inputOf(two).file)]).toEqual(["same", "same"]);
});

test("a dry run tells and takes nothing", async () => {
  const world = await intakeWorld();
  dropped(world, "a.cbz");
  await world.tick(world.loop);
  world.clock.advance(2_000);
  const report = await world.tick(world.loop, { dryRun: true });
  expect(report.would).toEqual(["comics: take a.cbz"]);
  expect(await itemsOf(world)).toEqual([]);
});

test("a change in a watched folder is hinted", async () => {
  const world = await intakeWorld();
  let hints = 0;
  const stop = world.loop.watchHints(() => {
    hints += 1;
  });
  dropped(world, "a.cbz");
  await until(() => hints > 0);
  stop();
});
