import { closeSync, openSync, readFileSync, utimesSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { itemDirOf } from "../../src/files/data-paths.ts";
import { beat, makeHeartbeat, type RunAsked } from "../support/command-runs.ts";
import { type CommandWorld, commandWorld, filesOf } from "../support/command-world.ts";
import { makeFifo } from "../support/fifo.ts";
import { until } from "../support/until.ts";

/** Hangs unless its item's folder holds `well`; the test moves the clock, so no real timeout passes. */
const hangs = '[ -e "$WAKEFUL_WORK_DIR/well" ] || while :; do sleep 1; done';
const heartbeat = { timeoutMs: 600_000, from: "file" } as const;

type Item = Awaited<ReturnType<CommandWorld["addItem"]>>;

const untilStarted = async (world: CommandWorld, item: Item, attempt: number) =>
  await until(
    async () => {
      const run = await world.runOf(item, attempt);
      return run.state === "started" ? run : undefined;
    },
    { everyMs: 5, what: `attempt ${attempt} of ${item.key}` },
  );

/** The heartbeat file of the item's first attempt, and how its progress is asked for. */
async function heartbeatOf(world: CommandWorld, item: Item): Promise<[path: string, run: RunAsked]> {
  const { id } = await world.runOf(item);
  return [filesOf(world, id).heartbeat, async () => await world.runOf(item)];
}

/** Ticks the daemon's loops: judge, stop, promote. */
async function loops(world: CommandWorld): Promise<void> {
  await world.tickReaper();
  await world.stopBlocked();
  await world.store.jobs.promoteDue(10);
}

test("each tick looks over all in-flight jobs; the one that fell silent is stopped and runs again without a person [A-9, A-23]", async () => {
  const world = await commandWorld(hangs, { stage: { heartbeat } });
  const [silent, busy] = [await world.addItem("silent"), await world.addItem("busy")];
  (await world.worker()).start();
  for (const item of [silent, busy]) await untilStarted(world, item, 1);
  world.advance(300_000);
  for (const item of [silent, busy]) await makeHeartbeat(...(await heartbeatOf(world, item)));
  world.advance(1000);
  for (const item of [silent, busy]) await beat(world, ...(await heartbeatOf(world, item)));
  const command = await world.command((await world.runOf(silent)).id);
  world.advance(600_000);
  await beat(world, ...(await heartbeatOf(world, busy)));
  await loops(world);
  expect((await world.runOf(silent)).state, "its age equals the timeout").toBe("started");
  world.file(silent, "well", "");
  world.advance(1001);
  await loops(world);
  await loops(world);
  expect(await world.runOf(silent)).toMatchObject({
    state: "ended",
    outcome: "hung",
    message: expect.stringContaining("heartbeat timeout 600 s"),
  });
  expect(world.probe.observe(command).kind).toBe("dead");
  expect(await world.runOf(busy)).toMatchObject({ state: "started" });
  await until(async () => (await world.store.items.get(silent.id))?.state === "done", { everyMs: 5 });
  expect(await world.runOf(silent, 2)).toMatchObject({ outcome: "succeeded" });
});

test("a hung worker spends one attempt per timeout, not one per tick; when they are spent the item fails, with one alert [A-G2, A-G5]", async () => {
  const world = await commandWorld("while :; do sleep 1; done", { stage: { heartbeat, attempts: 2 } });
  const item = await world.addItem();
  (await world.worker()).start();
  for (let attempt = 1; attempt <= 2; attempt++) {
    await untilStarted(world, item, attempt);
    world.advance(1_199_000);
    for (let tick = 0; tick < 3; tick++) await loops(world);
    expect((await world.runOf(item, attempt)).state, "within twice its timeout, without any beat").toBe("started");
    world.advance(1001);
    for (let tick = 0; tick < 3; tick++) await loops(world);
    expect(await world.runOf(item, attempt)).toMatchObject({ outcome: "hung", spent: "attempt" });
    expect((await world.job(item.id)).attempts).toBe(attempt);
  }
  expect(await world.store.items.get(item.id)).toMatchObject({ state: "failed" });
  const alerts = (await world.store.outbox.due(100)).filter((entry) => entry.kind === "alert");
  expect(alerts).toHaveLength(1);
});

test("a new attempt does not inherit the last one's heartbeat, and its time counts from its own start [A-G1]", async () => {
  const script = '[ "$WAKEFUL_ATTEMPT" = 2 ] && while :; do sleep 1; done; echo start > "$WAKEFUL_WORK_DIR/work.heartbeat"; exit 1';
  const world = await commandWorld(script, { stage: { heartbeat } });
  const item = await world.addItem();
  const { start } = await world.worker();
  start();
  await untilStarted(world, item, 2);
  const file = join(itemDirOf(world.world.paths, item.dir), "work.heartbeat");
  expect(() => readFileSync(file)).toThrow("ENOENT");
  world.advance(700_000);
  await loops(world);
  expect(await world.runOf(item, 2)).toMatchObject({ state: "started", progressAt: null });
});

test("a worker busy in a subprocess that blocks still beats, by whatever it prints [A-G3]", async () => {
  const script = "sh -c 'while read -r line; do echo \"$line\"; done' < lines";
  const world = await commandWorld(script, { stage: { heartbeat: { timeoutMs: 600_000, from: "output" }, cwd: "." } });
  const lines = join(world.world.baseDir, "lines");
  makeFifo(lines);
  const item = await world.addItem();
  (await world.worker()).start();
  await untilStarted(world, item, 1);
  const pipe = openSync(lines, "r+");
  // Repeated, because a new log counts by its age.
  const print = async (line: string): Promise<void> => {
    await until(async () => {
      writeSync(pipe, `${line}\n`);
      return (await world.runOf(item)).progressAt === world.world.clock.now();
    });
  };
  for (let page = 1; page <= 4; page++) {
    world.advance(500_000);
    await print(`page ${page}`);
    await loops(world);
  }
  expect((await world.runOf(item)).state).toBe("started");
  closeSync(pipe);
});

test("in-flight jobs survive a restart: the next daemon hears the beats that were written meanwhile, and goes on [A-G4]", async () => {
  const world = await commandWorld(hangs, { stage: { heartbeat } });
  const item = await world.addItem();
  const first = await world.worker({ dead: true });
  first.start();
  await untilStarted(world, item, 1);
  await world.command((await world.runOf(item)).id);
  world.advance(300_000);
  const [path, run] = await heartbeatOf(world, item);
  await makeHeartbeat(path, run);
  world.advance(1000);
  await beat(world, path, run);
  await first.worker.leave();
  world.advance(500_000);
  // The next daemon sees this file for the first time, so the file's age counts.
  const { progressAt } = await world.runOf(item);
  utimesSync(path, new Date(), new Date());
  const second = await world.worker();
  expect(await world.adoptOrRequeue(second.worker)).toMatchObject({ adopted: 1, requeued: 0 });
  second.start();
  await until(async () => (await run())?.progressAt !== progressAt, { what: "what was written meanwhile to be heard" });
  await beat(world, path, run);
  world.advance(600_000);
  await loops(world);
  expect(await world.runOf(item)).toMatchObject({ state: "started", ownerEpoch: 2, attempt: 1 });
});
