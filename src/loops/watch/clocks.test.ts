import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFifo } from "../../../test/support/fifo.ts";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { asRunId, asWorkerId } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";
import { newVantage } from "../../liveness/vantage.ts";
import { PresenceRegistry } from "../../observe/session-presence.ts";
import { FakeClock } from "../../runtime/fake-clock.ts";
import type { EventName } from "../../telemetry/events.ts";
import { ClockWatch } from "./clock-watch.ts";
import { DiskWatch } from "./disk-watch.ts";
import { Watcher } from "./watcher.ts";

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

test("the watcher tells each change of its doubt once", () => {
  const told: EventName[] = [];
  const watcher = new Watcher(newVantage(), { emit: (name) => told.push(name), alert: async () => true });
  const at = (s: number) => asInstant(1_000_000 + seconds(s));
  for (let time = 0; time < 8; time++) watcher.wasDeaf({ from: at(10 * time), to: at(10 * time + 3), cause: "stalled" });
  expect(told).toEqual(["vantage.unstable"]);
  watcher.deafFrom("store_unreachable", at(100));
  watcher.hearsAgain("store_unreachable", at(130));
  expect(told).toEqual(["vantage.unstable"]);
});

test("a session's word about a run counts only when it can know of it", () => {
  const book = new PresenceRegistry();
  const at = (s: number) => asInstant(1_000_000 + seconds(s));
  const workerId = asWorkerId(1);
  const run = { runId: asRunId(7), workerId, claimSeq: 3, reservedAt: at(10) };
  expect(book.reportOn(run)).toEqual({ kind: "notNamed", since: at(10) });
  book.heard(workerId, { at: at(11), held: [], claimSeqReceived: 2 });
  expect(book.reportOn(run), "the claim's answer may be on its way").toEqual({ kind: "notNamed", since: at(10) });
  book.heard(workerId, { at: at(12), held: [run.runId], claimSeqReceived: 3 });
  expect(book.reportOn(run)).toEqual({ kind: "holds", at: at(12) });
  expect(book.hasLetGo(workerId, run.runId, at(11))).toBe(false);
  book.heard(workerId, { at: at(13), held: [], claimSeqReceived: 3 });
  expect(book.reportOn(run)).toEqual({ kind: "doesNotHold", at: at(13) });
  expect(book.hasLetGo(workerId, run.runId, at(13)), "said before the end of the run").toBe(false);
  expect(book.hasLetGo(workerId, run.runId, at(12))).toBe(true);
  book.forget(workerId);
  expect(book.reportOn({ ...run, workerId: null })).toEqual({ kind: "notNamed", since: at(10) });
});

test("the disk's ballast is laid while there is room, freed when there is none, and nothing is claimed below the limit", async () => {
  const dataDir = join(tempDir("disk"), "data");
  mkdirSync(dataDir);
  let free = 1_000_000_000;
  const told: EventName[] = [];
  const disk = new DiskWatch({
    dataDir,
    minFreeBytes: 1000,
    ballastBytes: 100_000,
    emit: (name) => told.push(name),
    freeBytes: async () => free,
  });
  await disk.look();
  expect(statSync(join(dataDir, "ballast")).size).toBe(100_000);
  expect(statSync(join(dataDir, "ballast")).blocks * 512).toBeGreaterThanOrEqual(100_000);
  free = 999;
  await disk.look();
  await disk.look();
  expect([disk.low, ...told]).toEqual([true, "disk.low"]);
  expect(await disk.freeBallast()).toBe(true);
  expect(await disk.freeBallast()).toBe(false);
  free = 1_000_000_000;
  await disk.look();
  expect([disk.low, ...told]).toEqual([false, "disk.low", "disk.recovered"]);
  expect(readdirSync(dataDir)).toEqual(["ballast"]);
  const broken = new DiskWatch({
    dataDir,
    minFreeBytes: 1,
    ballastBytes: 0,
    emit: (name: EventName) => told.push(name),
    freeBytes: async () => {
      throw new Error("gone");
    },
  });
  await broken.look();
  expect(told.at(-1)).toBe("store.degraded");
});

test("a link or a FIFO in the ballast's place is not written through, and holds nobody", async () => {
  const dataDir = tempDir("ballast");
  const path = join(dataDir, "ballast");
  const told: EventName[] = [];
  const emit = (name: EventName): void => void told.push(name);
  const disk = new DiskWatch({ dataDir, minFreeBytes: 1, ballastBytes: 1000, emit, freeBytes: async () => 1e9 });
  writeFileSync(join(dataDir, "precious"), "kept");
  symlinkSync(join(dataDir, "precious"), path);
  await disk.look();
  expect(readFileSync(join(dataDir, "precious"), "utf8")).toBe("kept");
  rmSync(path);
  makeFifo(path);
  await disk.look();
  expect(told).toEqual(["store.degraded", "store.degraded"]);
  rmSync(path);
  for (let look = 0; look < 60; look++) await disk.look();
  expect(statSync(path).size).toBe(1000);
});
