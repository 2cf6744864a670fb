import { expect, test } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { addMs, asInstant } from "../../domain/time.ts";
import { FakeClock } from "../../runtime/fake-clock.ts";
import { ClockWatch } from "./clock-watch.ts";

const seconds = (n: number): number => n * 1000;
const minutes = (n: number): number => 60 * seconds(n);

/** A daemon whose store's clock follows its host's boot clock, as the disciplined one does, and that looks at its clocks each second. */
async function watched() {
  const world = await RepairWorld.open();
  const host = new FakeClock();
  const { store, events } = world.world;
  const watch = new ClockWatch({
    host,
    hostId: world.host.hostId,
    store: { runs: world.seen.runs, now: () => store.now() },
    watcher: world.loops.watcher,
    emit: (name, data) => {
      events.push({ name, data });
    },
    periodMs: 1000,
  });
  /** Time passes on the host, unseen by this process. */
  const pass = (ms: number, how: "advance" | "suspend" = "advance"): void => {
    host[how](ms);
    world.advance(ms);
  };
  const far = await world.worker({ host: "host-b", pid: 61, kind: "handler" });
  const ticks = async (count: number, between: () => Promise<void> = async () => undefined): Promise<void> => {
    for (let tick = 0; tick < count; tick++) {
      pass(1000);
      await between();
      await watch.look();
      await world.tickWorkers();
      await world.tick();
    }
  };
  const beat = async (): Promise<void> => {
    await store.workers.renew({ workerId: far, held: [], claimSeqReceived: 0 });
  };
  return { world, host, watch, pass, far, ticks, beat };
}

const heartbeat = { maxRunningMs: minutes(60), heartbeatTimeoutMs: seconds(60) };

test.each([
  ["forward", minutes(60)],
  ["back", minutes(-60)],
])("the wall clock set an hour %s judges nobody", async (_way, byMs) => {
  const { world, host, ticks, beat } = await watched();
  const run = await world.running({ limits: heartbeat });
  const beats = async (): Promise<void> => {
    await beat();
    await world.store.runs.beat([{ runId: run.runId, at: world.now }]);
  };
  await ticks(3, beats);
  host.stepWall(byMs);
  await ticks(40, beats);
  expect(await world.stateOf(run)).toBe("running");
  expect(await world.store.workers.listAlive()).toHaveLength(2);
  expect(world.world.eventsOf("clock.stepped")).toEqual([{ byMs }]);
});

test("a suspend of twenty minutes judges nobody who is heard again, and counts towards no limit of a run", async () => {
  const { world, pass, watch, ticks, beat } = await watched();
  const run = await world.running({ limits: { maxRunningMs: minutes(15), heartbeatTimeoutMs: seconds(60) } });
  await ticks(3, beat);
  pass(minutes(20), "suspend");
  await watch.look();
  await world.tickWorkers();
  await world.tick();
  expect(await world.stateOf(run)).toBe("running");
  expect(await world.store.workers.listAlive()).toHaveLength(2);
  expect(world.world.eventsOf("host.suspended")).toMatchObject([{ forMs: minutes(20) }]);
  expect(await world.store.runs.get(run.runId)).toMatchObject({ suspendedMs: minutes(20) });
  await ticks(30, async () => {
    await beat();
    await world.store.runs.beat([{ runId: run.runId, at: world.now }]);
  });
  expect(await world.stateOf(run)).toBe("running");
  // Whatever stays silent after all that is found too.
  await ticks(70);
  expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "hung" });
});

test("a suspend that the store could not record is recorded when it answers again, once", async () => {
  const { world, pass, watch } = await watched();
  const run = await world.running();
  const { addSuspend } = world.seen.runs;
  world.seen.runs.addSuspend = async () => {
    throw new Error("busy");
  };
  pass(minutes(20), "suspend");
  await expect(watch.look()).rejects.toThrow("busy");
  world.seen.runs.addSuspend = addSuspend;
  pass(1000);
  await Promise.all([watch.look(), watch.look()]);
  expect(await world.store.runs.get(run.runId)).toMatchObject({ suspendedMs: minutes(20) });
});

test.each([
  ["once, for a minute", [60]],
  ["again and again, for twelve seconds", [12, 12, 12, 12]],
  ["for just under its limit, twice", [29, 29]],
])("a daemon that was stalled %s does not call silent what it could not hear", async (_how, stalls) => {
  const { world, pass, watch, ticks, beat } = await watched();
  const run = await world.running({ limits: heartbeat });
  await ticks(2, beat);
  for (const stall of stalls) {
    pass(seconds(stall));
    await watch.look();
    await world.tickWorkers();
    await world.tick();
    await ticks(1);
  }
  expect(await world.store.workers.listAlive()).toHaveLength(2);
  expect(await world.stateOf(run)).toBe("running");
  await beat();
});

test("what is dead is found in spite of stalls: doubt ends", async () => {
  const { world, pass, watch, ticks, far } = await watched();
  await ticks(2);
  for (let stall = 0; stall < 40; stall++) {
    pass(seconds(12));
    await watch.look();
    await world.tickWorkers();
    await ticks(1);
  }
  expect(await world.store.workers.get(far)).toMatchObject({ state: "dead" });
  expect(world.world.eventsOf("vantage.unstable")).toHaveLength(1);
});

test("a dead process is dead whatever the clocks do", async () => {
  const { world, pass, watch } = await watched();
  const run = await world.running();
  world.die(run);
  pass(minutes(20), "suspend");
  await watch.look();
  await world.tick();
  await world.tick();
  expect(await world.stateOf(run)).toBe("queued");
});

test("a step of the store's server is deaf time and no part of a run's age; a suspend that shows as one counts once [F-9.9]", async () => {
  const { world, watch, pass, beat } = await watched();
  const run = await world.running({ limits: { maxRunningMs: minutes(60) } });
  const suspendedMs = async (): Promise<number | undefined> => (await world.store.runs.get(run.runId))?.suspendedMs;
  const silence = () =>
    world.loops.watcher
      .view("workers")
      .silence({ channel: "throughStore", lastHeardAt: heardAt, limitMs: seconds(30), now: asInstant(world.now) });
  await beat();
  const heardAt = asInstant(world.now);
  world.advance(minutes(2));
  const to = addMs(asInstant(world.now), seconds(30));
  await watch.doubt({ kind: "stepped", from: heardAt, to, byMs: minutes(2) });
  expect(silence()).toMatchObject({ silentMs: 0, earned: false });
  expect(await suspendedMs()).toBe(minutes(2));
  expect(world.world.eventsOf("store.clock_stepped")).toEqual([{ byMs: minutes(2) }]);

  // The server went on while this host slept: one and the same time.
  pass(minutes(5), "suspend");
  await watch.doubt({ kind: "stepped", from: to, to: asInstant(world.now), byMs: minutes(5) });
  expect(await suspendedMs()).toBe(minutes(7));
  // Back: ages only become younger.
  await watch.doubt({ kind: "stepped", from: to, to: asInstant(world.now), byMs: -minutes(2) });
  expect(await suspendedMs()).toBe(minutes(7));
  await watch.doubt({ kind: "unsampled", from: to, to: asInstant(world.now), byMs: 0 });
  expect(world.world.eventsOf("store.clock_stepped")).toEqual([{ byMs: minutes(2) }, { byMs: -minutes(2) }]);
});
