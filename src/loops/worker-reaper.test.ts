import { expect, test, vi } from "vitest";
import { chain } from "../../test/support/loop-world.ts";
import { RepairWorld } from "../../test/support/repair-world.ts";
import { until } from "../../test/support/until.ts";
import { addMs } from "../domain/time.ts";

const seconds = (n: number): number => n * 1000;

test("a session whose process is dead is buried at once, and what its handlers had goes back", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const run = await world.running({ queue: "mail", workerId });
  await world.tickWorkers();
  expect(await world.stateOf(run)).toBe("running");
  world.probe.set(60, "dead");
  expect(await world.tickWorkers()).toMatchObject({ settled: 2 });
  expect(await world.stateOf(run)).toBe("queued");
  expect(await world.store.workers.get(workerId)).toMatchObject({ state: "dead" });
  expect(world.world.eventsOf("worker.buried")).toMatchObject([{ workerId, reason: "process_dead" }]);
  expect(await world.store.upkeep.checkInvariants()).toEqual([]);
});

test("a session that another daemon has buried meanwhile is its burial: told of by nobody here, and not counted", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60 });
  world.probe.set(60, "dead");
  const { bury } = world.seen.workers;
  world.seen.workers.bury = async (id, words) => {
    expect(await bury(id, { ...words, actor: "another" })).toBe(true);
    return await bury(id, words);
  };
  expect(await world.tickWorkers()).toMatchObject({ settled: 0, lost: 1 });
  expect(await world.store.workers.get(workerId)).toMatchObject({ state: "dead" });
  expect(world.world.eventsOf("worker.buried")).toEqual([]);
});

test("silence buries only where nothing can be probed: a living process is never seized by it", async () => {
  const world = await RepairWorld.open();
  const here = await world.worker({ pid: 60, kind: "handler" });
  const far = await world.worker({ pid: 61, kind: "handler", host: "host-b" });
  world.advance(seconds(29));
  await world.tickWorkers();
  expect(await world.store.workers.listAlive()).toHaveLength(2);
  world.advance(seconds(1));
  await world.tickWorkers();
  expect((await world.store.workers.listAlive()).map((worker) => worker.id)).toEqual([here]);
  expect(await world.store.workers.get(far)).toMatchObject({ state: "dead" });
});

test("a crash between the burial and the giving back loses nothing: the next daemon starts from the store", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const run = await world.running({ queue: "mail", workerId });
  world.probe.set(60, "dead");
  world.seen.workers.listEndedHolding = async () => {
    throw new Error("killed here");
  };
  await expect(world.tickWorkers()).rejects.toThrow("killed here");
  expect(await world.stateOf(run)).toBe("running");
  world.seen.workers.listEndedHolding = world.store.workers.listEndedHolding;
  world.restart();
  await world.tickWorkers();
  expect(await world.stateOf(run)).toBe("queued");
});

test("an item's handler run goes back by its stage's policy, spread with the others of its event", async () => {
  const world = await RepairWorld.open([chain("h", ["work"], { stage: { run: { kind: "handler", name: "work" }, maxLosses: 3 } })]);
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const item = await world.addItem("h");
  const run = await world.start({ queue: "h/work", workerId });
  world.probe.set(60, "dead");
  await world.tickWorkers();
  expect(await world.job(run.jobId)).toMatchObject({ state: "queued", attempts: 0, losses: 1 });
  expect(await world.store.items.get(item.id)).toMatchObject({ state: "active", stage: "work" });
});

test("an exit on record is not lost with the session: the job-reaper finalises it", async () => {
  const world = await RepairWorld.open([chain("h", ["work"], { stage: { run: { kind: "handler", name: "work" } } })]);
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const item = await world.addItem("h");
  const run = await world.start({ queue: "h/work", workerId });
  await world.store.runs.recordExit({ ...run, exitCode: 0, checkAt: addMs(world.now, seconds(300)) });
  world.probe.set(60, "dead");
  await world.tickWorkers();
  expect(await world.stateOf(run)).toBe("running");
  await world.tick();
  expect(await world.stateOf(run)).toBe("done");
  expect(await world.store.items.get(item.id)).toMatchObject({ state: "done" });
});

test("commands of a dead session are handed to the job-reaper once, not in each tick", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60 });
  const run = await world.running({ workerId });
  world.probe.set(60, "dead");
  const moveChecks = vi.spyOn(world.seen.runs, "moveChecks");
  for (let tick = 0; tick < 3; tick++) await world.tickWorkers();
  expect(moveChecks).toHaveBeenCalledTimes(1);
  expect(await world.store.runs.get(run.runId)).toMatchObject({ state: "started", checkAt: world.now });
});

test("many that turn silent together make the watcher doubt itself: the limit doubles once, with an alert; then they go back", async () => {
  const world = await RepairWorld.open();
  for (let pid = 100; pid < 110; pid++) await world.worker({ pid, kind: "handler", host: "host-b" });
  world.advance(seconds(31));
  await world.tickWorkers();
  expect(await world.store.workers.listAlive()).toHaveLength(10);
  expect(world.world.eventsOf("vantage.changed")).toMatchObject([{ scope: "workers", to: "limited" }]);
  expect(await until(() => world.alertCauses().then((causes) => causes.length > 0 && causes))).toEqual(["vantage:workers"]);
  world.advance(seconds(30));
  await world.tickWorkers();
  expect(await world.store.workers.listAlive()).toEqual([]);
});

test("one session's failure leaves the others' runs to be handled", async () => {
  const world = await RepairWorld.open([chain("h", ["work"], { stage: { run: { kind: "handler", name: "work" } } })]);
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  await world.addItem("h", "bad");
  await world.addItem("h", "good");
  const [bad, good] = [await world.start({ queue: "h/work", workerId }), await world.start({ queue: "h/work", workerId })];
  world.probe.set(60, "dead");
  const { settle } = world.seen.runs;
  world.seen.runs.settle = async (settlements) => {
    if (settlements[0]?.runId === bad.runId) throw new Error("boom");
    return await settle(settlements);
  };
  expect(await world.tickWorkers()).toMatchObject({ failed: 1 });
  expect([await world.stateOf(bad), await world.stateOf(good)]).toEqual(["running", "queued"]);
  world.seen.runs.settle = settle;
  await world.tickWorkers();
  expect(await world.stateOf(bad)).toBe("queued");
});

test("a dry run names who would be buried and buries nobody", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60 });
  world.probe.set(60, "dead");
  const report = await world.world.tick(world.loops.workers, { dryRun: true });
  expect(report.would).toEqual([`worker ${workerId}: dead pid 60`]);
  expect(await world.store.workers.listAlive()).toHaveLength(1);
});
