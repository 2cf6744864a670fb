import { describe, expect, test, vi } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { until } from "../../../test/support/until.ts";
import { asInstant } from "../../domain/time.ts";
import type { EventName, WakefulEvents } from "../../telemetry/events.ts";
import { type Loop, nothingSeen, type TickReport } from "./loop.ts";
import { LoopRunner } from "./loop-runner.ts";
import { LoopSet } from "./loop-set.ts";
import { LoopWaker } from "./loop-waker.ts";

interface Told {
  readonly name: EventName;
  readonly data: unknown;
}

function runnerOf(loop: Partial<Loop> = {}, intervalMs = 20, enabled = () => true) {
  const events: Told[] = [];
  const alerts: WakefulEvents["alert.raised"][] = [];
  let mono = 0;
  const runner = new LoopRunner(
    { name: "scheduler", details: () => ({}), tick: async () => nothingSeen, ...loop },
    { intervalMs, enabled, settings: { deadTicks: 2, maxRunningMs: 86_400_000, leaseReclaim: true } },
    {
      now: () => asInstant(1_000_000 + mono),
      monoNow: () => mono,
      random: () => 0.5,
      emit: (name, data: WakefulEvents[EventName]) => {
        events.push({ name, data });
      },
      alert: async (alert) => {
        alerts.push(alert);
        return true;
      },
    },
  );
  return {
    runner,
    events,
    alerts,
    of: (name: EventName) => events.filter((event) => event.name === name).map((event) => event.data),
    pass: (ms: number) => {
      mono += ms;
    },
  };
}

const ticksOf = (runner: LoopRunner) => runner.snapshot().ticks;
const untilTicks = async (runner: LoopRunner, count: number) => await until(() => ticksOf(runner) >= count, { everyMs: 2 });

test("TC-21a: follows start and stop; after stop it is not alive [B-4, B-6, B-8]", async () => {
  const { runner } = runnerOf({}, 50);
  expect(runner.alive).toBe(false);
  runner.start();
  expect(runner.alive).toBe(true);
  await untilTicks(runner, 2);
  expect(await runner.stop(2000)).toBe(true);
  expect(runner.alive).toBe(false);
  expect(runner.snapshot().running).toBe(false);
});

test("does not keep the process alive while it waits [B-4]", async () => {
  const { runner } = runnerOf({}, 60_000);
  const before = process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  runner.start();
  await untilTicks(runner, 1);
  expect(process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length).toBe(before);
  await runner.stop();
});

test("starting twice leaves one loop [B-7]", async () => {
  const { runner, of } = runnerOf({}, 60_000);
  runner.start();
  runner.start();
  await untilTicks(runner, 1);
  expect(of("loop.started")).toHaveLength(1);
  await runner.stop();
  expect(of("loop.stopped")).toEqual([{ loop: "scheduler", clean: true }]);
});

test("stop interrupts the wait, and gives up on a tick that does not end [B-8]", async () => {
  let release = (): void => undefined;
  const stuck = new Promise<void>((resolve) => {
    release = resolve;
  });
  const tick = vi.fn(async () => await stuck.then(() => nothingSeen));
  const { runner } = runnerOf({ tick });
  runner.start();
  await until(() => tick.mock.calls.length > 0, { everyMs: 1 });
  expect(await runner.stop(10)).toBe(false);
  expect(runner.alive).toBe(true);
  release();
  expect(await runner.stop(2000)).toBe(true);
  expect(runner.alive).toBe(false);
});

test("a loop that was stopped is started again, also behind a tick that is still ending", async () => {
  const waiting: (() => void)[] = [];
  let under = 0;
  let most = 0;
  const tick = async (): Promise<TickReport> => {
    most = Math.max(most, ++under);
    await new Promise<void>((resolve) => waiting.push(resolve));
    under--;
    return nothingSeen;
  };
  const { runner } = runnerOf({ tick }, 1);
  runner.start();
  await until(() => waiting.length === 1, { everyMs: 1 });
  expect(await runner.stop(1)).toBe(false);
  runner.start();
  waiting.shift()?.();
  await until(() => waiting.length === 1, { everyMs: 1 });
  expect(most).toBe(1);
  const stopped = runner.stop();
  waiting.shift()?.();
  expect(await stopped).toBe(true);
  expect(runner.alive).toBe(false);
});

test("an unexpected error in a tick never ends the loop, and the time of the tick is kept [B-58, B-59]", async () => {
  let ticks = 0;
  const { runner, of } = runnerOf({
    tick: async () => {
      ticks++;
      if (ticks < 3) throw new Error(`boom ${ticks}`);
      return nothingSeen;
    },
  });
  runner.start();
  await untilTicks(runner, 4);
  await runner.stop();
  expect(of("loop.failed")).toEqual([
    { loop: "scheduler", message: "boom 1" },
    { loop: "scheduler", message: "boom 2" },
  ]);
  expect(runner.snapshot()).toMatchObject({ failures: 2, lastError: null, lastRunAt: 1_000_000 });
});

test("the start line tells interval, switch, dead ticks, ceiling and lease switch; the stop has a line too [B-74]", async () => {
  const { runner, of } = runnerOf({}, 60_000);
  runner.start();
  expect(of("loop.started")).toEqual([
    {
      loop: "scheduler",
      intervalMs: 60_000,
      enabled: true,
      settings: { deadTicks: 2, maxRunningMs: 86_400_000, leaseReclaim: true },
    },
  ]);
  await runner.stop();
  expect(of("loop.stopped")).toHaveLength(1);
});

test("the kill switch is read at each tick; a dry run looks all the same [B-68]", async () => {
  let enabled = false;
  let ticks = 0;
  const tick = async (): Promise<TickReport> => {
    ticks++;
    return nothingSeen;
  };
  const { runner } = runnerOf({ tick }, 20, () => enabled);
  await runner.tickOnce();
  expect(ticks).toBe(0);
  await runner.tickOnce({ dryRun: true });
  enabled = true;
  await runner.tickOnce();
  expect(ticks).toBe(2);
});

test("ticks of one loop never overlap, whoever asks for them", async () => {
  let under = 0;
  let most = 0;
  const { runner } = runnerOf({
    tick: async () => {
      most = Math.max(most, ++under);
      await new Promise((resolve) => setImmediate(resolve));
      under--;
      return nothingSeen;
    },
  });
  runner.start();
  await Promise.all(Array.from({ length: 10 }, () => runner.tickOnce()));
  await runner.stop();
  expect(most).toBe(1);
});

test("a hint shortens the wait; endless hints leave the event loop its turns", async () => {
  const { runner } = runnerOf({}, 60_000);
  runner.start();
  await untilTicks(runner, 1);
  runner.wake();
  await untilTicks(runner, 2);
  const insistent = runnerOf({
    tick: async () => {
      insistent.runner.wake();
      return nothingSeen;
    },
  });
  insistent.runner.start();
  // Other timers, and then the stop, get their turn between ticks that follow at once.
  await until(() => insistent.runner.snapshot().ticks > 20, { everyMs: 1 });
  await insistent.runner.stop();
  await runner.stop();
});

test("a tick that does not end raises one alert after five periods, and is forgotten when it has ended", async () => {
  let release = (): void => undefined;
  const { runner, of, pass, alerts } = runnerOf({
    tick: () =>
      new Promise((resolve) => {
        release = () => resolve(nothingSeen);
      }),
  });
  const ticking = runner.tickOnce();
  await new Promise((resolve) => setImmediate(resolve));
  pass(100);
  runner.checkLate();
  expect(of("loop.late")).toEqual([]);
  pass(1);
  runner.checkLate();
  runner.checkLate();
  expect(of("loop.late")).toEqual([{ loop: "scheduler", sinceMs: 101 }]);
  expect(alerts).toEqual([
    {
      cause: "loop.late:scheduler",
      title: expect.stringMatching(/scheduler has not finished a tick .* restart the daemon/),
      details: { loop: "scheduler", sinceMs: 101, intervalMs: 20 },
    },
  ]);
  release();
  await ticking;
  runner.checkLate();
  expect(runner.snapshot().lastDurationMs).toBe(101);
});

describe("all loops of a process", () => {
  test("start, wake on hints, and stop together; started again they hear hints again", async () => {
    const ticked: string[] = [];
    const loopOf = (name: Loop["name"]) => runnerOf({ name, tick: async () => (ticked.push(name), nothingSeen) }, 60_000).runner;
    const waker = new LoopWaker();
    const loops = new LoopSet(
      [
        { runner: loopOf("stopper"), wokenBy: ["blocked"] },
        { runner: loopOf("outbox"), wokenBy: ["outbox"] },
        { runner: loopOf("worker-reaper"), wokenBy: ["workers"] },
      ],
      { waker },
    );
    const listeners = new Set<(hint: "blocked" | "outbox" | "workers" | "jobs") => void>();
    const store = {
      onHint: (listener: (hint: never) => void) => {
        listeners.add(listener as never);
        return () => listeners.delete(listener as never);
      },
    };
    const hint = (name: "blocked" | "outbox" | "workers" | "jobs") => {
      for (const listener of listeners) listener(name);
    };
    for (let round = 0; round < 2; round++) {
      ticked.length = 0;
      loops.start(store);
      await until(() => ticked.length === 3, { everyMs: 1 });
      expect([...ticked].sort()).toEqual(["outbox", "stopper", "worker-reaper"]);
      hint("jobs");
      hint("blocked");
      await until(() => ticked.length > 3, { everyMs: 1 });
      expect(ticked.slice(3)).toEqual(["stopper"]);
      waker.wake("outbox");
      await until(() => ticked.length > 4, { everyMs: 1 });
      expect(ticked.slice(4)).toEqual(["outbox"]);
      await loops.stop(1000);
      expect(listeners.size).toBe(0);
      expect(loops.snapshots().some((snapshot) => snapshot.running)).toBe(false);
    }
  });

  test("there is one loop of a name: the job-reaper of an application is shared [B-71]", () => {
    const twice = [1, 2].map(() => ({ runner: runnerOf().runner, wokenBy: [] }));
    expect(() => new LoopSet(twice, { waker: new LoopWaker() })).toThrow("same name");
  });

  test("a loop ticks only after the start-up requeue: nothing runs before its start [B-5]", async () => {
    const world = await RepairWorld.open();
    const loops = new LoopSet([{ runner: world.loops.runner, wokenBy: [] }], { waker: new LoopWaker() });
    const run = await world.running();
    world.die(run);
    await new Promise((resolve) => setImmediate(resolve));
    expect(loops.snapshots()).toMatchObject([{ ticks: 0, running: false }]);
    loops.start(world.store);
    await until(() => (loops.snapshots()[0]?.ticks ?? 0) > 1, { everyMs: 2 });
    await loops.stop(2000);
    expect(await world.stateOf(run)).toBe("queued");
  });
});
