import { join } from "node:path";
import { expect, test } from "vitest";
import { itemDirOf } from "../../src/files/data-paths.ts";
import { beat, makeHeartbeat, type RunAsked } from "../support/command-runs.ts";
import { type CommandWorld, commandWorld } from "../support/command-world.ts";
import { until } from "../support/until.ts";

type Item = Awaited<ReturnType<CommandWorld["addItem"]>>;

/** Waits until a file in its folder lets it end. */
const waits = 'while ! [ -e "$WAKEFUL_WORK_DIR/$WAKEFUL_STAGE.done" ]; do sleep 0.05; done';
const stage = { heartbeat: { timeoutMs: 600_000, from: "file" } } as const;

async function runOfStage(world: CommandWorld, item: Item, name: string) {
  const jobs = await world.store.items.jobs(item.id);
  const job = jobs.find(({ queue }) => queue === `p/${name}`);
  return job === undefined ? undefined : (await world.store.runs.ofJob(job.id)).at(-1);
}

/** The heartbeat file of a stage in the item's folder, and how the progress of its run is asked for. */
const heartbeatOf = (world: CommandWorld, item: Item, name: string): [path: string, run: RunAsked] => [
  join(itemDirOf(world.world.paths, item.dir), `${name}.heartbeat`),
  async () => await runOfStage(world, item, name),
];

test("PREP_RUNNING is judged by prep.heartbeat and OCR_RUNNING by ocr.heartbeat, each below its item's folder in the given place [A-1, A-10, A-11, A-21]", async () => {
  const world = await commandWorld({ prep: waits, ocr: waits }, { stage });
  const item = await world.addItem();
  (await world.worker()).start();
  for (const name of ["prep", "ocr"]) {
    await until(async () => (await runOfStage(world, item, name))?.state === "started", { what: `${name} to start` });
    world.advance(300_000);
    const [path, run] = heartbeatOf(world, item, name);
    await makeHeartbeat(path, run);
    await beat(world, path, run);
    world.advance(600_000);
    await world.tickReaper();
    expect((await runOfStage(world, item, name))?.state).toBe("started");
    world.file(item, `${name}.done`, "");
    await until(async () => (await runOfStage(world, item, name))?.state === "ended", { what: `${name} to end` });
  }
  await until(async () => (await world.store.items.get(item.id))?.state === "done", { what: "the item to be done" });
});

test.each([
  ["prep", "ocr"],
  ["ocr", "prep"],
])(
  "%s is not kept alive by %s.heartbeat, which lies in the same folder and is touched all the time [A-3, A-10, A-11, A-24]",
  async (name, other) => {
    const world = await commandWorld({ prep: waits, ocr: waits }, { stage });
    const [silent, busy] = [await world.addItem("silent"), await world.addItem("busy")];
    (await world.worker()).start();
    // Both stages have files; an earlier stage's file stays.
    if (name === "ocr") for (const item of [silent, busy]) world.file(item, "prep.done", "");
    for (const item of [silent, busy]) await until(async () => (await runOfStage(world, item, name))?.state === "started");
    world.advance(300_000);
    for (const item of [silent, busy]) await makeHeartbeat(...heartbeatOf(world, item, name));
    for (const item of [silent, busy]) await beat(world, ...heartbeatOf(world, item, name));
    const heardAt = world.world.clock.now();
    world.advance(300_000);
    world.file(silent, `${other}.heartbeat`, "beat");
    // Two beats of the other item at different instants: all files have been read in between.
    for (let look = 0; look < 2; look += 1) {
      world.advance(1);
      await beat(world, ...heartbeatOf(world, busy, name));
      world.file(silent, `${other}.heartbeat`, `beat ${look}`);
    }
    expect((await runOfStage(world, silent, name))?.progressAt).toBe(heardAt);
    world.advance(300_000);
    await world.tickReaper();
    expect(await runOfStage(world, silent, name)).toMatchObject({ state: "ended", outcome: "hung" });
    expect(await runOfStage(world, busy, name)).toMatchObject({ state: "started" });
  },
);
