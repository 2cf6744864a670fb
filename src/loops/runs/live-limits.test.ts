import { describe, expect, test } from "vitest";
import { chain } from "../../../test/support/loop-world.ts";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import type { RunThresholds } from "../../liveness/run-thresholds.ts";

const seconds = (n: number): number => n * 1000;
const hours = (n: number): number => n * 3_600_000;

const change = (world: RepairWorld, thresholds: Partial<RunThresholds>): void => {
  world.settings.thresholds = { ...world.settings.thresholds, ...thresholds };
};

/** A handler run at work, left alone once under the old thresholds. */
async function atWork(limits: { readonly maxRunningMs?: number; readonly timeoutMs?: number } = {}) {
  const world = await RepairWorld.open();
  const run = await world.running({ queue: "mail", limits });
  await world.tick();
  return { world, run };
}

/** Its session goes on beating, so that nothing but age can end it. */
async function later(world: RepairWorld, ms: number): Promise<void> {
  world.advance(ms);
  await world.store.workers.renew({ workerId: await world.worker(), held: [], claimSeqReceived: 0 });
}

describe("the ceiling of runs that have none of their own is read at each tick [B-68]", () => {
  test("made lower, it ends at the next tick what is older [B-68]", async () => {
    const { world, run } = await atWork();
    await later(world, hours(2));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    change(world, { maxRunningMs: hours(1) });
    await world.tick();
    expect(await world.store.runs.get(run.runId)).toMatchObject({ reason: "age_ceiling" });
  });

  test("made lower than what is left, it moves the look to the new instant [B-68]", async () => {
    const { world, run } = await atWork();
    await later(world, hours(2));
    change(world, { maxRunningMs: hours(3) });
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    await later(world, hours(1));
    await world.tick();
    expect(await world.stateOf(run)).not.toBe("running");
  });

  test("made higher, it spares what the old one would have ended [B-68]", async () => {
    const { world, run } = await atWork();
    change(world, { maxRunningMs: hours(48) });
    await later(world, hours(25));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    await later(world, hours(23));
    await world.tick();
    expect(await world.store.runs.get(run.runId)).toMatchObject({ reason: "age_ceiling" });
  });

  test("a restart under a lower one counts from the first tick [B-68]", async () => {
    const { world, run } = await atWork();
    await later(world, hours(2));
    change(world, { maxRunningMs: hours(1) });
    world.restart();
    await world.tick();
    expect(await world.stateOf(run)).not.toBe("running");
  });

  test("a dry run neither ends anything nor counts as having seen the change [B-68]", async () => {
    const { world, run } = await atWork();
    await later(world, hours(2));
    change(world, { maxRunningMs: hours(1) });
    await world.tick({ dryRun: true });
    expect(await world.stateOf(run)).toBe("running");
    await world.tick();
    expect(await world.stateOf(run)).not.toBe("running");
  });
});

describe("a run's own limits are those it started with", () => {
  test("its ceiling stays, whatever the setting becomes", async () => {
    const { world, run } = await atWork({ maxRunningMs: hours(24) });
    await later(world, hours(2));
    change(world, { maxRunningMs: hours(1) });
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    change(world, { maxRunningMs: hours(48) });
    await later(world, hours(22));
    await world.tick();
    expect(await world.stateOf(run)).not.toBe("running");
  });

  test("with a timeout its default ceiling lies beyond that, not at the setting", async () => {
    const { world, run } = await atWork({ timeoutMs: hours(25) });
    await later(world, hours(24.5));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    await later(world, hours(1));
    await world.tick();
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "timed_out", reason: "timeout" });
  });
});

describe("the grace of finalising is read at each tick where the stage declares none [B-68]", () => {
  async function exited(finalizeGraceMs?: number) {
    const world = await RepairWorld.open([chain("p", ["prep"], { stage: finalizeGraceMs === undefined ? {} : { finalizeGraceMs } })]);
    const item = await world.addItem();
    const run = await world.start({ queue: "p/prep", limits: {} });
    await world.exit(run, 0);
    await world.tick();
    return { world, run, state: async () => (await world.store.items.get(item.id))?.state };
  }

  test("made shorter, it takes over at the next tick [B-68]", async () => {
    const { world, state } = await exited();
    world.advance(seconds(100));
    await world.tick();
    expect(await state()).toBe("active");
    change(world, { finalizeGraceMs: seconds(90) });
    await world.tick();
    expect(await state()).toBe("done");
  });

  test("made longer, it waits on [B-68]", async () => {
    const { world, state } = await exited();
    change(world, { finalizeGraceMs: seconds(1000) });
    world.advance(seconds(999));
    await world.tick();
    expect(await state()).toBe("active");
    world.advance(seconds(1));
    await world.tick();
    expect(await state()).toBe("done");
  });

  test("a declared grace stays the stage's", async () => {
    const { world, state } = await exited(seconds(200));
    change(world, { finalizeGraceMs: seconds(90) });
    world.advance(seconds(199));
    await world.tick();
    expect(await state()).toBe("active");
    world.advance(seconds(1));
    await world.tick();
    expect(await state()).toBe("done");
  });
});
