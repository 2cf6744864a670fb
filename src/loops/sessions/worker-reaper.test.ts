import { expect, test, vi } from "vitest";
import { chain } from "../../../test/support/loop-world.ts";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { until } from "../../../test/support/until.ts";
import { addMs, asInstant } from "../../domain/time.ts";
import { newVantage } from "../../liveness/vantage.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import type { Emit } from "../../telemetry/events.ts";
import { Watcher } from "../watch/watcher.ts";

const seconds = (n: number): number => n * 1000;

test("a session whose process is dead is declared dead at once, and what its handlers had goes back", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const run = await world.running({ queue: "mail", workerId });
  await world.tickWorkers();
  expect(await world.stateOf(run)).toBe("running");
  world.probe.set(60, "dead");
  expect(await world.tickWorkers()).toMatchObject({ settled: 2 });
  expect(await world.stateOf(run)).toBe("queued");
  expect(await world.store.workers.get(workerId)).toMatchObject({ state: "dead" });
  expect(world.world.eventsOf("worker.dead")).toMatchObject([{ workerId, reason: "process_dead" }]);
  expect(await world.store.upkeep.checkInvariants()).toEqual([]);
});

test("a session that another daemon has declared dead meanwhile is neither reported nor counted here", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60 });
  world.probe.set(60, "dead");
  const { declareDead } = world.seen.workers;
  world.seen.workers.declareDead = async (id, words) => {
    expect(await declareDead(id, { ...words, actor: "another" })).toBe(true);
    return await declareDead(id, words);
  };
  expect(await world.tickWorkers()).toMatchObject({ settled: 0, lost: 1 });
  expect(await world.store.workers.get(workerId)).toMatchObject({ state: "dead" });
  expect(world.world.eventsOf("worker.dead")).toEqual([]);
});

test("silence counts as death only where nothing can be probed, and never ends a living process", async () => {
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

const hungAlerts = async (world: RepairWorld) =>
  (await world.store.outbox.due(100)).filter(({ kind, key }) => kind === "alert" && key.startsWith("worker_hung"));

test("a silent process that lives is told once, with the remedy, and again only when it was heard meanwhile [F-9.1]", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  world.advance(seconds(29));
  await world.tickWorkers();
  expect(await hungAlerts(world)).toEqual([]);
  world.advance(seconds(1));
  await world.tickWorkers();
  await world.tickWorkers();
  const [alert, ...more] = await hungAlerts(world);
  expect([alert?.key, alert?.revision, more]).toEqual([`worker_hung:${workerId}`, 1, []]);
  expect(alert?.payload).toContain("(pid 60) has said nothing for 30 s though it lives");
  expect(alert?.payload).toContain("kill -CONT 60");
  expect(world.world.eventsOf("worker.hung")).toMatchObject([{ workerId, pid: 60, killed: false }]);
  expect(world.loops.workers.details().hung).toEqual([workerId]);

  await world.store.workers.renew({ workerId, held: [], claimSeqReceived: 0 });
  await world.tickWorkers();
  expect(world.loops.workers.details().hung).toEqual([]);
  world.advance(seconds(30));
  await world.tickWorkers();
  expect((await hungAlerts(world))[0]?.revision).toBe(2);
});

test("a process whose parent here deals with its silence is told of by nobody else [F-9.1]", async () => {
  const world = await RepairWorld.open();
  await world.worker({ pid: 60, kind: "handler" });
  world.supervised = [world.processOf(60)];
  world.advance(seconds(60));
  await world.tickWorkers();
  expect(await hungAlerts(world)).toEqual([]);
});

test("an alert that the store refuses is raised with the next tick, also by the next daemon [F-9.1]", async () => {
  const world = await RepairWorld.open();
  await world.worker({ pid: 60, kind: "handler" });
  world.advance(seconds(30));
  world.alertsTaken = false;
  await world.tickWorkers();
  expect(world.loops.workers.details().hung).toEqual([]);
  world.alertsTaken = true;
  await world.tickWorkers();
  expect(await hungAlerts(world)).toHaveLength(1);
  world.restart();
  await world.tickWorkers();
  expect(world.loops.workers.details().hung).toHaveLength(1);
});

test("a crash between the verdict and the giving back loses nothing: the next daemon starts from the store", async () => {
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

test("many sessions that fall silent together double the limit once, with an alert; then their runs go back", async () => {
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

test("each change of the watcher's mode is an alert, also back to normal, and deafness too", async () => {
  const events = vi.fn<Emit>();
  const alerts: { cause: string; title: string }[] = [];
  const alert: RaiseAlert = async ({ cause, title }) => {
    alerts.push({ cause, title });
    return true;
  };
  const watcher = new Watcher(newVantage(), { emit: events, alert });
  const look = (at: number, turnedSilent: number, canary: "ok" | "failing" = "ok") =>
    watcher.observe({ scope: "workers", total: 10, turnedSilent, canary, now: asInstant(seconds(at)) });
  look(0, 5);
  look(1, 5, "failing");
  look(2, 5);
  look(63, 5);
  look(64, 0);
  look(125, 0);
  expect(events.mock.calls.map(([name]) => name)).toEqual(Array(4).fill("vantage.changed"));
  expect(new Set(alerts.map(({ cause }) => cause))).toEqual(new Set(["vantage:workers"]));
  expect(alerts.map(({ title }) => title)).toEqual([
    expect.stringContaining("is limited: 5 of 10 turned silent"),
    expect.stringContaining("is frozen: it does not hear itself"),
    expect.stringContaining("is limited, no longer frozen"),
    expect.stringContaining("is back to normal, no longer limited"),
  ]);
  for (let at = 200; at < 206; at++)
    watcher.wasDeaf({ from: asInstant(seconds(2 * at)), to: asInstant(seconds(2 * at + 1)), cause: "suspended" });
  expect(alerts.at(-1)).toMatchObject({ cause: "vantage:unstable", title: expect.stringContaining("wakeful doctor") });
});

test("with reaper.enabled off what a dead session held stays in running, and nothing is counted; on again it goes back [B-10, B-12]", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const run = await world.running({ queue: "mail", workerId });
  world.settings.enabled = false;
  world.settings.reclaimEnabled = false;
  world.probe.set(60, "dead");
  world.advance(seconds(99_999));
  for (let tick = 0; tick < 3; tick++) {
    await world.tickWorkers();
    await world.tick();
  }
  expect(await world.stateOf(run)).toBe("running");
  expect(world.details()).toMatchObject({ reaped_total: 0, last_reaped: null });
  world.settings.enabled = true;
  await world.tickWorkers();
  expect(await world.stateOf(run)).toBe("queued");
});

test("what ends with its session is reaped: counted in the reaper's numbers, with a warning each [B-61, B-62, B-63]", async () => {
  const world = await RepairWorld.open([chain("h", ["work"], { stage: { run: { kind: "handler", name: "work" } } })]);
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  await world.addItem("h");
  const plain = await world.running({ queue: "mail", workerId, agent: "postman", repo: "letters", maxAttempts: 1 });
  const ofItem = await world.start({ queue: "h/work", workerId });
  world.probe.set(60, "dead");
  await world.tickWorkers();
  expect(world.world.eventsOf("run.reaped")).toMatchObject([
    { runId: plain.runId, jobId: plain.jobId, queue: "mail", agent: "postman", repo: "letters", pid: 60, outcome: "failed" },
    { runId: ofItem.runId, jobId: ofItem.jobId, queue: "h/work", pid: 60, outcome: "queued" },
  ]);
  expect(world.world.eventsOf("run.ended")).toMatchObject([
    { runId: plain.runId, outcome: "lost" },
    { runId: ofItem.runId, outcome: "lost" },
  ]);
  expect(world.details()).toMatchObject({ reaped_total: 2, last_reaped: { job_id: ofItem.jobId, outcome: "queued" } });
});

test("a session with very many runs gives a hundred warnings and one for the rest, and all are counted", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  await world.store.jobs.enqueue({ queue: "mail", jobs: Array.from({ length: 250 }, () => ({})) });
  const queues = [{ name: "mail", limits: {} }];
  await world.store.runs.claim({ claimId: "all", workerId, claimSeq: 1, queues, max: 250, startNow: 200 });
  world.probe.set(60, "dead");
  await world.tickWorkers();
  expect(world.world.eventsOf("run.reaped")).toHaveLength(100);
  const rest = world.world.eventsOf("runs.reaped");
  expect(rest).toMatchObject([{ outcome: "lost" }, { outcome: "never_started", count: 50 }]);
  expect(rest.reduce((sum, { count }) => sum + count, 0)).toBe(150);
  expect(world.details()).toMatchObject({ reaped_total: 250 });
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

test("a dry run names who would be declared dead and declares nobody", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60 });
  world.probe.set(60, "dead");
  const report = await world.world.tick(world.loops.workers, { dryRun: true });
  expect(report.would).toEqual([`worker ${workerId}: dead pid 60`]);
  expect(await world.store.workers.listAlive()).toHaveLength(1);
});

test("a stop does not wait for runs that are left to give back; the next tick finds them", async () => {
  const world = await RepairWorld.open([chain("h", ["work"], { stage: { run: { kind: "handler", name: "work" } } })]);
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  for (let key = 0; key < 3; key++) await world.addItem("h", `k${key}`);
  await world.store.runs.claim({
    claimId: "all",
    workerId,
    claimSeq: 1,
    queues: [{ name: "h/work", limits: {} }],
    max: 3,
    startNow: 3,
  });
  world.probe.set(60, "dead");
  const stopping = new AbortController();
  const { settle } = world.seen.runs;
  world.seen.runs.settle = async (...given) => {
    stopping.abort();
    return await settle(...given);
  };
  const context = { now: world.now, signal: stopping.signal, enabled: true, dryRun: false, emit: () => undefined };
  expect(await world.loops.workers.tick(context)).toMatchObject({ settled: 2, failed: 0 });
  expect(await world.tickWorkers()).toMatchObject({ settled: 2 });
});
