import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { hours, seconds } from "../../src/domain/time.ts";
import { intakeKey } from "../../src/pipelines/intake-key.ts";
import { type ConfiguredLoops, configuredLoops } from "../support/configured-loops.ts";
import { claimOne, startRun, success } from "../support/store-rows.ts";

/** The free bytes of every disk. */
const freeBytes = 100 * 2 ** 20;
const freeInodes = 5000;
vi.mock("../../src/files/free-disk.ts", () => ({ freeDiskBytes: async () => freeBytes, freeInodes: async () => freeInodes }));

const stages = "stages: { work: { run: { command: ['true'] }, timeout: 1h } }";
const watching = (intake: string): string => `pipelines: { p: { intake: { ${intake} }, ${stages} } }`;

/** The files of a folder beside the configuration file; none is there before something was put in it. */
function folderOf({ world }: ConfiguredLoops, folder: string) {
  const path = join(world.world.baseDir, folder);
  return {
    put: (name: string, content: string): void => {
      mkdirSync(path, { recursive: true });
      writeFileSync(join(path, name), content);
    },
    names: (): readonly string[] => readdirSync(path),
  };
}

/** Two ticks, far enough apart to show that a file does not change, and a third that carries out decisions. */
async function takeAll({ world, tick }: ConfiguredLoops): Promise<void> {
  for (let look = 0; look < 3; look++) {
    await tick("intake");
    world.advance(seconds(2));
  }
}

const itemsOf = async ({ world }: ConfiguredLoops) => await world.store.items.list({ limit: 10 });
const labelsOf = async (configured: ConfiguredLoops) => (await itemsOf(configured)).map(({ label }) => label);

describe("what is taken", () => {
  test("pipeline.intake.watch is the folder whose files become items, pipeline.intake.match says which", async () => {
    const configured = await configuredLoops(watching('watch: ./drop, match: ["*.cbz"]'));
    folderOf(configured, "in").put("elsewhere.cbz", "one");
    folderOf(configured, "drop").put("book.cbz", "two");
    folderOf(configured, "drop").put("notes.txt", "three");
    await takeAll(configured);
    expect(await labelsOf(configured)).toEqual(["book.cbz"]);
  });

  test("pipeline.intake.profile is a part of the item's key", async () => {
    const configured = await configuredLoops(watching("watch: ./in, profile: { lang: deu }"));
    folderOf(configured, "in").put("book", "words");
    await takeAll(configured);
    const sha256 = createHash("sha256").update("words").digest("hex");
    expect((await itemsOf(configured)).map(({ key }) => key)).toEqual([intakeKey({ sha256, profile: { lang: "deu" } })]);
  });

  test("pipeline.intake.minStable is how long a file must not have changed", async () => {
    const configured = await configuredLoops(watching("watch: ./in, minStable: 1m"));
    folderOf(configured, "in").put("book", "words");
    await configured.tick("intake");
    configured.world.advance(seconds(59));
    await configured.tick("intake");
    expect(await labelsOf(configured)).toEqual([]);
    configured.world.advance(seconds(1));
    await configured.tick("intake");
    expect(await labelsOf(configured)).toEqual(["book"]);
  });

  test("intake.maxBytes is the most that a file may have, where pipeline.intake.maxBytes says nothing else", async () => {
    const configured = await configuredLoops(`
intake: { maxBytes: 10 }
pipelines:
  p: { intake: { watch: ./p/in }, ${stages} }
  q: { intake: { watch: ./q/in, maxBytes: 20 }, ${stages} }
`);
    folderOf(configured, "p/in").put("eleven", "0123456789+");
    folderOf(configured, "q/in").put("twenty", "0123456789+twenty---");
    folderOf(configured, "q/in").put("more", "0123456789+twenty---+");
    await takeAll(configured);
    expect(await labelsOf(configured)).toEqual(["twenty"]);
    expect(folderOf(configured, "p/error").names()).toContain("eleven");
    expect(folderOf(configured, "q/error").names()).toContain("more");
  });

  test("pipeline.intake.signature is how a file must begin, and pipeline.intake.errorDir where others go", async () => {
    const configured = await configuredLoops(watching('watch: ./in, signature: ["504b", "1f8b"], errorDir: ./refused'));
    folderOf(configured, "in").put("book", "PK words");
    folderOf(configured, "in").put("other", "words");
    await takeAll(configured);
    expect(await labelsOf(configured)).toEqual(["book"]);
    expect(folderOf(configured, "refused").names()).toContain("other");
  });

  test("intake.diskFreeFactor is how many times its size must be free for a file, where pipeline.intake.diskFreeFactor says nothing else", async () => {
    const configured = await configuredLoops(`
intake: { diskFreeFactor: 1000 }
pipelines:
  p: { intake: { watch: ./p/in }, ${stages} }
  q: { intake: { watch: ./q/in, diskFreeFactor: 500 }, ${stages} }
`);
    // A thousand times as much is more than there is.
    const content = "x".repeat(freeBytes / 1000 + 1);
    folderOf(configured, "p/in").put("waits", content);
    folderOf(configured, "q/in").put("fits", content);
    folderOf(configured, "q/in").put("waits too", content + content);
    await takeAll(configured);
    expect(await labelsOf(configured)).toEqual(["fits"]);
    expect(folderOf(configured, "p/in").names()).toEqual(["waits"]);
    expect(folderOf(configured, "q/in").names()).toEqual(["waits too"]);
  });

  test("pipeline.intake.duplicates is what happens to a file that is known already", async () => {
    const configured = await configuredLoops(watching("watch: ./in, duplicates: discard"));
    for (const name of ["first", "again"]) {
      folderOf(configured, "in").put(name, "the same words");
      await takeAll(configured);
    }
    expect(await labelsOf(configured)).toEqual(["first"]);
    expect(folderOf(configured, "in").names()).toEqual([]);
    expect(await configured.world.store.duplicates.list(10)).toMatchObject([{ fileName: "again", decision: "discard" }]);
  });

  test("pipeline.intake.archiveDir is where a source goes when its item is done", async () => {
    const configured = await configuredLoops(watching("watch: ./in, archiveDir: ./read"));
    const { world, tick } = configured;
    folderOf(configured, "in").put("book", "words");
    await takeAll(configured);
    const run = await claimOne(world.store, { queues: ["p/work"], workerId: await world.worker() });
    await startRun(world.store, run);
    await world.store.runs.settle([success(run, { advance: { kind: "finish" } })]);
    world.advance(hours(24 * 8));
    await tick("retention");
    expect(folderOf(configured, "read").names()).toEqual(["book"]);
  });
});

describe("what is kept free", () => {
  test("disk.minFreeInodes is the number of files below which nothing more is claimed", async () => {
    const enough = await configuredLoops("disk: { minFreeBytes: 0, minFreeInodes: 5000 }");
    const more = await configuredLoops("disk: { minFreeBytes: 0, minFreeInodes: 5001 }");
    await enough.watch.disk.look();
    await more.watch.disk.look();
    expect([enough.watch.disk.low, more.watch.disk.low]).toEqual([false, true]);
  });

  test("disk.minFreeBytes is the free space below which nothing more is claimed", async () => {
    const enough = await configuredLoops("disk: { minFreeBytes: 99MiB }");
    const more = await configuredLoops("disk: { minFreeBytes: 101MiB }");
    for (const { watch } of [enough, more]) await watch.disk.look();
    expect([enough.watch.disk.low, more.watch.disk.low]).toEqual([false, true]);
  });

  test("disk.ballastBytes is the size of the file that is freed on a full disk", async () => {
    const { watch, world } = await configuredLoops("disk: { minFreeBytes: 1MiB, ballastBytes: 12345 }");
    await watch.disk.look();
    expect(statSync(join(world.world.paths.dataDir, "ballast")).size).toBe(12_345);
  });
});
