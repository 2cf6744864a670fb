import { describe, expect, test } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { addMs } from "../../domain/time.ts";
import type { RunThresholds } from "../../liveness/run-thresholds.ts";
import { nothingSeen } from "../skeleton/loop.ts";
import { LoopRunner } from "../skeleton/loop-runner.ts";

const seconds = (n: number): number => n * 1000;

/** A world whose reaper has ticked before anything changes. */
async function running(): Promise<RepairWorld> {
  const world = await RepairWorld.open();
  await world.tick();
  return world;
}

const change = (world: RepairWorld, thresholds: Partial<RunThresholds>): void => {
  world.settings.thresholds = { ...world.settings.thresholds, ...thresholds };
};

describe("each threshold counts from the tick after its change, for runs that are under way [B-68]", () => {
  test("dead ticks: the look that would have been one of three is the last of one [B-68]", async () => {
    const world = await running();
    change(world, { deadTicks: 3 });
    const run = await world.running();
    world.die(run);
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    change(world, { deadTicks: 1 });
    await world.tick();
    expect(await world.stateOf(run)).toBe("queued");
  });

  test("how soon a suspect is looked at again [B-68]", async () => {
    const world = await running();
    world.die(await world.running());
    change(world, { suspectRecheckMs: 70, deadTicks: 9 });
    expect((await world.tick()).nextInMs).toBe(70);
    change(world, { suspectRecheckMs: 30 });
    expect((await world.tick()).nextInMs).toBe(30);
  });

  test("the grace of a finaliser, made shorter and longer [B-68]", async () => {
    const world = await running();
    const run = await world.running();
    await world.exit(run, 0);
    world.advance(seconds(100));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    change(world, { finalizeGraceMs: seconds(90) });
    await world.tick();
    expect(await world.stateOf(run)).toBe("done");
    const second = await world.running();
    await world.exit(second, 0);
    change(world, { finalizeGraceMs: seconds(1000) });
    world.advance(seconds(999));
    await world.tick();
    expect(await world.stateOf(second)).toBe("running");
    world.advance(seconds(1));
    await world.tick();
    expect(await world.stateOf(second)).toBe("done");
  });

  test("how long a reserved run may go unnamed [B-68]", async () => {
    const world = await running();
    await world.store.jobs.enqueue({ queue: "dev", jobs: [{}] });
    const run = await world.claim("dev");
    if (run === undefined) throw new Error("nothing was claimed");
    world.advance(seconds(5));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    change(world, { startWithinMs: seconds(4) });
    await world.tick();
    expect(await world.stateOf(run)).toBe("queued");
  });

  test("how long a session of another host may be silent [B-68]", async () => {
    const world = await running();
    const workerId = await world.worker({ host: "host-b" });
    const run = await world.running({ workerId, host: "host-b" });
    world.advance(seconds(20));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    change(world, { deadAfterMs: seconds(15) });
    await world.tick();
    expect(await world.stateOf(run)).toBe("queued");
  });

  test("how long the reaper leaves a timeout to the supervisor [B-68]", async () => {
    const world = await running();
    const run = await world.running({ limits: { timeoutMs: seconds(100), maxRunningMs: seconds(1000) } });
    world.advance(seconds(120));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    change(world, { reaperTimeoutSlackMs: seconds(10) });
    await world.tick();
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "timed_out" });
  });

  test("how long a living run waits to be adopted [B-68]", async () => {
    const world = await running();
    const run = await world.running();
    world.probe.set(50, "dead");
    await world.tickWorkers();
    await world.tick();
    world.advance(seconds(20));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    change(world, { adoptWithinMs: seconds(10) });
    await world.tick();
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "lost", reason: "not_adopted" });
  });
});

describe("each switch is read at each tick [B-68]", () => {
  test("the job scan's, and beside it the lease sweep's with its scope [B-68]", async () => {
    const world = await running();
    const run = await world.running();
    const holder = { kind: "process", process: world.processOf(77) } as const;
    const limits = { ttlMs: seconds(300), maxHoldMs: seconds(3600), timeoutAt: addMs(world.now, 1) };
    for (const name of ["merge/a", "merge/b"]) await world.store.leases.acquire({ name, ticket: name, holder, ...limits });
    const free = async () => (await world.store.leases.list({ limit: 10 })).filter(({ state }) => state === "free").map(({ name }) => name);
    world.settings.enabled = false;
    world.settings.reclaimEnabled = false;
    world.settings.thresholds = { ...world.settings.thresholds, deadTicks: 1 };
    world.die(run);
    world.probe.set(77, "dead");
    await world.tick();
    expect([await world.stateOf(run), await free()]).toEqual(["running", []]);
    world.settings.reclaimEnabled = true;
    world.settings.scope = ["merge/b"];
    await world.tick();
    expect([await world.stateOf(run), await free()]).toEqual(["running", ["merge/b"]]);
    world.settings.enabled = true;
    world.settings.scope = [];
    await world.tick();
    expect([await world.stateOf(run), await free()]).toEqual(["queued", ["merge/a", "merge/b"]]);
  });

  test("whether living runs are adopted [B-68]", async () => {
    const world = await running();
    world.settings.adoption = false;
    const run = await world.running();
    world.probe.set(50, "dead");
    await world.tickWorkers();
    await world.tick();
    expect(world.adopted).toEqual([]);
    world.settings.adoption = true;
    await world.tick();
    expect(world.adopted).toMatchObject([{ runId: run.runId }]);
  });
});

test("the interval alone is fixed when the loop is made: a change of its number changes no wait [B-68]", async () => {
  const options = { intervalMs: 60_000, enabled: () => true };
  const loop = { name: "scheduler", details: () => ({}), tick: async () => nothingSeen } as const;
  const runner = new LoopRunner(loop, options, {
    now: () => 0 as never,
    monoNow: () => 0,
    random: () => 0.5,
    emit: () => undefined,
    alert: async () => true,
  });
  options.intervalMs = 1;
  expect(runner.intervalMs).toBe(60_000);
  expect(runner.snapshot().intervalMs).toBe(60_000);
  expect(Object.getOwnPropertyDescriptor(LoopRunner.prototype, "intervalMs")?.set).toBeUndefined();
});
