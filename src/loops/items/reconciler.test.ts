import { expect, test, vi } from "vitest";
import { chain, type LoopWorld, loopWorld } from "../../../test/support/loop-world.ts";
import { claimOne, failure, startRun, success } from "../../../test/support/store-rows.ts";
import { asHostId, asJobId } from "../../domain/ids.ts";
import { addMs } from "../../domain/time.ts";
import { directAccess } from "../../files/foreign/path-operation.ts";
import { ResultReader } from "../../gates/result-reader.ts";
import type { GateDefinition } from "../../pipelines/definition.ts";
import { PipelineRegistry } from "../../pipelines/registry.ts";
import { createSettling } from "../../settling/settling.ts";
import type { ItemRow } from "../../store/port/items.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { Loop } from "../skeleton/loop.ts";
import { Reconciler, type ReconcilerDeps } from "./reconciler.ts";

const hosts = { hostId: asHostId("host-a"), pinnedHostLostMs: () => 600_000 };

interface World extends LoopWorld {
  readonly loop: Loop;
  /** Another loop, as a new daemon has it. */
  restart(overrides?: Partial<ReconcilerDeps>): Loop;
}

const green: GateDefinition = { kind: "command", argv: ["true"] };
const red: GateDefinition = { kind: "command", argv: ["false"] };
const unreadable: GateDefinition = { kind: "command", argv: ["/no/such/program"] };

async function reconcilerWorld(gate?: GateDefinition, onExhausted: "fail" | "hold" = "fail"): Promise<World> {
  const world = await loopWorld([chain("p", ["prep", "ocr"], { stage: { onExhausted, gate } })]);
  const { store, registry, paths, baseDir } = world;
  const { finaliser } = createSettling({
    store,
    registry,
    reader: new ResultReader({ paths, hostId: asHostId("h"), baseDir, environment: process.env, access: directAccess, gatesAtOnce: 2 }),
    random: () => 0,
    emit: () => undefined,
    stopWithinMs: () => 17_000,
  });
  const restart = (overrides: Partial<ReconcilerDeps> = {}): Loop =>
    new Reconciler({ store, registry, hosts, finaliser, alert: world.alert, ...overrides });
  return { ...world, restart, loop: restart() };
}

async function addItem(world: World, key = "book"): Promise<ItemRow> {
  const first = world.registry.entry("p", "prep");
  if (first === undefined) throw new Error("no first stage");
  return (await world.store.items.add({ pipeline: "p", key, dir: key, input: "{}", first, actor: "test" })).item;
}

/** An item whose job is done and whose stage never moved: what dying between the two steps leaves (X7). */
async function doneWithoutAdvance(world: World, key = "book"): Promise<ItemRow> {
  const item = await addItem(world, key);
  const run = await claimOne(world.store, { queues: ["p/prep"] });
  await startRun(world.store, run);
  await world.store.runs.settle([success(run, { output: '{"pages":3}' })]);
  return item;
}

const itemOf = async (world: World, item: ItemRow): Promise<ItemRow | undefined> => await world.store.items.get(item.id);
const alertsOf = async (world: World): Promise<string[]> =>
  (await world.store.outbox.due(100)).filter((entry) => entry.kind === "alert").map((entry) => entry.key);
const unfinishedJobs = async (world: World, item: ItemRow): Promise<number> =>
  (await world.store.items.jobs(item.id)).filter((job) => job.finishedAt === null).length;

test("a job that is done while its stage stayed behind moves on when the gate is green, with an alert (X7)", async () => {
  const world = await reconcilerWorld(green);
  const item = await doneWithoutAdvance(world);
  expect(await world.tick(world.loop)).toMatchObject({ seen: 1, settled: 1 });
  expect(await itemOf(world, item)).toMatchObject({ stage: "ocr", state: "active" });
  expect(await unfinishedJobs(world, item)).toBe(1);
  expect((await world.store.items.visits(item.id))[0]).toMatchObject({ state: "passed", output: '{"pages":3}' });
  expect(await alertsOf(world)).toEqual([`reconciler.acted:${item.id}:${item.visitId}`]);
  expect(world.eventsOf("item.advanced")).toEqual([{ itemId: item.id, from: "prep", to: "ocr" }]);
  expect(world.eventsOf("item.recovered")).toMatchObject([{ itemId: item.id, stage: "prep", action: "advanced" }]);
  expect(await world.tick(world.loop)).toMatchObject({ seen: 0, settled: 0 });
});

test("the last stage is finished alike", async () => {
  const world = await reconcilerWorld();
  const item = await doneWithoutAdvance(world);
  await world.tick(world.loop);
  const run = await claimOne(world.store, { queues: ["p/ocr"] });
  await startRun(world.store, run);
  await world.store.runs.settle([success(run)]);
  await world.tick(world.loop);
  expect(await itemOf(world, item)).toMatchObject({ state: "done" });
  expect(world.eventsOf("item.advanced").at(-1)).toEqual({ itemId: item.id, from: "ocr", to: null });
  expect(world.eventsOf("item.ended")).toMatchObject([{ itemId: item.id, state: "done" }]);
});

test("a red gate never moves the item on: it is given another attempt of the visit's budget", async () => {
  const world = await reconcilerWorld(red);
  const item = await doneWithoutAdvance(world);
  await world.tick(world.loop);
  expect(await itemOf(world, item)).toMatchObject({ stage: "prep", state: "active" });
  const jobs = await world.store.items.jobs(item.id);
  expect(jobs.at(-1)).toMatchObject({ state: "queued", attempts: 1, maxAttempts: 3 });
});

test("a red gate with no attempt left ends the item as failed, with its one alert (X7)", async () => {
  const world = await reconcilerWorld(red);
  const item = await doneWithoutAdvance(world);
  world.sql("update visits set attempts = max_attempts");
  expect(await world.tick(world.loop)).toMatchObject({ seen: 1, settled: 1 });
  expect(await itemOf(world, item)).toMatchObject({
    stage: "prep",
    state: "failed",
    error: expect.stringContaining("3 attempts are spent"),
  });
  expect((await world.store.items.visits(item.id))[0]).toMatchObject({ state: "failed" });
  expect(world.eventsOf("item.ended")).toMatchObject([{ itemId: item.id, state: "failed" }]);
  expect(world.eventsOf("item.recovered")).toMatchObject([{ itemId: item.id, action: "ended" }]);
  expect(await world.tick(world.loop)).toMatchObject({ seen: 0, settled: 0 });
  expect(await alertsOf(world)).toEqual([`reconciler.acted:${item.id}:${item.visitId}`]);
  expect((await world.store.outbox.due(10)).find((entry) => entry.kind === "alert")?.revision).toBe(1);
  expect(await world.store.upkeep.checkInvariants()).toEqual([]);
});

test("with no attempt left a stage that keeps its jobs for a person keeps a stranded item too: a held job and one alert, however often it looks", async () => {
  for (const gate of [red, undefined]) {
    const world = await reconcilerWorld(gate, "hold");
    const item = gate === undefined ? await addItem(world) : await doneWithoutAdvance(world);
    if (gate === undefined) world.sql("delete from ready; delete from jobs");
    world.sql("update visits set attempts = max_attempts");
    expect(await world.tick(world.loop)).toMatchObject({ seen: 1, settled: 1 });
    expect(await itemOf(world, item)).toMatchObject({ stage: "prep", state: "active" });
    const job = (await world.store.items.jobs(item.id)).at(-1);
    expect(job).toMatchObject({ state: "held", error: expect.stringContaining("3 attempts are spent") });
    expect(await world.tick(world.restart())).toMatchObject({ seen: 0, settled: 0 });
    expect(await alertsOf(world)).toEqual([`job.held:${job?.id}:waiting`]);
    expect(await world.store.jobs.unhold(job?.id ?? asJobId(0), { actor: "ana", force: false })).toBe(true);
    expect(await claimOne(world.store, { queues: ["p/prep"] })).toMatchObject({ jobId: job?.id });
    expect(await world.store.upkeep.checkInvariants()).toEqual([]);
  }
});

test("a visit without a job and without an attempt left ends the item as failed", async () => {
  const world = await reconcilerWorld(green);
  const item = await addItem(world);
  world.sql("delete from ready; delete from jobs; update visits set attempts = max_attempts");
  expect(await world.tick(world.loop)).toMatchObject({ settled: 1 });
  expect(await itemOf(world, item)).toMatchObject({ state: "failed" });
});

test("an unreadable gate moves nothing until its patience is over", async () => {
  const world = await reconcilerWorld(unreadable);
  const item = await doneWithoutAdvance(world);
  await world.tick(world.loop);
  expect(await unfinishedJobs(world, item)).toBe(0);
  world.clock.advance(60_000);
  await world.tick(world.loop);
  expect(await unfinishedJobs(world, item)).toBe(0);
  expect(await alertsOf(world)).toEqual([]);
  for (let minute = 0; minute < 10; minute++) {
    world.clock.advance(60_000);
    await world.tick(world.loop);
  }
  expect(await itemOf(world, item)).toMatchObject({ stage: "prep" });
  expect(await unfinishedJobs(world, item)).toBe(1);
});

test("an unreadable gate is read again when its time has come, and not at every tick", async () => {
  const world = await reconcilerWorld(unreadable);
  await doneWithoutAdvance(world);
  const finalise = vi.fn(
    async () =>
      ({ kind: "wait", readAgainAt: addMs(world.clock.now(), 5000), pendingSince: world.clock.now(), why: "unreadable" }) as const,
  );
  const loop = world.restart({ finaliser: { finalise } });
  for (let second = 0; second <= 10; second++) {
    await world.tick(loop);
    world.clock.advance(1000);
  }
  expect(finalise).toHaveBeenCalledTimes(3);
});

test("a visit without any job is given one within its remaining budget", async () => {
  const world = await reconcilerWorld(green);
  const item = await addItem(world);
  world.sql("delete from ready; delete from jobs; update visits set attempts = 2");
  await world.tick(world.loop);
  expect(await itemOf(world, item)).toMatchObject({ stage: "prep", state: "active" });
  expect(await world.store.items.jobs(item.id)).toMatchObject([{ state: "queued", attempts: 2, maxAttempts: 3 }]);
});

test("a stage that did not run in this visit is never passed, whatever an earlier visit did", async () => {
  const world = await reconcilerWorld(green);
  const item = await doneWithoutAdvance(world);
  const entry = world.registry.entry("p", "prep");
  if (entry === undefined) throw new Error("no stage");
  await world.store.items.rerun(item.id, { entry, uncounted: ["prep", "ocr"], actor: "test" });
  const second = await itemOf(world, item);
  world.sql(`delete from ready; delete from jobs where visit_id = ${second?.visitId ?? 0}`);
  await world.tick(world.loop);
  expect(await itemOf(world, item)).toMatchObject({ stage: "prep" });
  expect(await unfinishedJobs(world, item)).toBe(1);
});

test("a job that is done by no run of its own proves nothing: the stage is run", async () => {
  const world = await reconcilerWorld(green);
  const item = await doneWithoutAdvance(world);
  world.sql("delete from runs");
  await world.tick(world.loop);
  expect(await itemOf(world, item)).toMatchObject({ stage: "prep" });
  expect(await unfinishedJobs(world, item)).toBe(1);
});

test("an item that a returned job left behind runs its stage again, and fails once no attempt is left", async () => {
  const world = await reconcilerWorld(green);
  const item = await doneWithoutAdvance(world);
  world.sql("update jobs set state = 'returned'");
  expect(await world.tick(world.loop)).toMatchObject({ settled: 1 });
  expect(await itemOf(world, item)).toMatchObject({ stage: "prep", state: "active" });
  expect(await unfinishedJobs(world, item)).toBe(1);
  world.sql("delete from ready; delete from jobs where state = 'queued'; update visits set attempts = max_attempts");
  expect(await world.tick(world.loop)).toMatchObject({ settled: 1 });
  expect(await itemOf(world, item)).toMatchObject({ state: "failed" });
  expect(await world.tick(world.loop)).toMatchObject({ seen: 0 });
});

for (const state of ["failed", "cancelled"] as const) {
  test(`an item whose job is ${state} ends alike`, async () => {
    const world = await reconcilerWorld();
    const item = await addItem(world);
    const run = await claimOne(world.store, { queues: ["p/prep"] });
    await startRun(world.store, run);
    if (state === "failed") await world.store.runs.settle([failure(run)]);
    else await world.store.jobs.cancel(run.jobId, { actor: "test", reason: "no more", stopBy: addMs(world.store.now(), 1000) });
    world.sql("update items set state = 'active', finished_at = null; update visits set state = 'open', closed_at = null");
    await world.tick(world.loop);
    expect(await itemOf(world, item)).toMatchObject({ state });
    expect(await alertsOf(world)).toContain(`reconciler.acted:${item.id}:${item.visitId}`);
  });
}

test("an item with an unfinished job, paused or finished is not the reconciler's", async () => {
  const world = await reconcilerWorld();
  const paused = await doneWithoutAdvance(world, "paused");
  await world.store.items.setPaused(paused.id, { paused: true, actor: "test" });
  await addItem(world, "working");
  expect(await world.tick(world.loop)).toMatchObject({ seen: 0, settled: 0, failed: 0 });
  expect(await itemOf(world, paused)).toMatchObject({ state: "paused", stage: "prep" });
});

test("a vanished stage is kept for a person, who is told once", async () => {
  const world = await reconcilerWorld();
  const item = await doneWithoutAdvance(world);
  for (const { id } of await world.store.workers.listAlive()) await world.store.workers.leave(id);
  const loop = world.restart({ registry: new PipelineRegistry([chain("p", ["ocr"])]) });
  await world.tick(loop);
  await world.tick(loop);
  expect(await itemOf(world, item)).toMatchObject({ stage: "prep", state: "active" });
  expect(await alertsOf(world)).toEqual([`reconciler.stranded:${item.id}:${item.visitId}`]);
});

test("the alert of a stranded item is repeated while the store refuses it, and raised once when the store takes it", async () => {
  const world = await reconcilerWorld();
  const item = await doneWithoutAdvance(world);
  for (const { id } of await world.store.workers.listAlive()) await world.store.workers.leave(id);
  let refuses = true;
  const alert: ReconcilerDeps["alert"] = async (each) => (refuses ? false : await world.alert(each));
  const loop = world.restart({ alert, registry: new PipelineRegistry([chain("p", ["ocr"])]) });
  await world.tick(loop);
  expect(await alertsOf(world)).toEqual([]);
  refuses = false;
  await world.tick(loop);
  await world.tick(loop);
  const [stored, ...others] = (await world.store.outbox.due(100)).filter((entry) => entry.kind === "alert");
  expect([stored?.revision, others]).toEqual([1, []]);
  expect(JSON.parse(stored?.payload ?? "{}")).toEqual({
    title: expect.stringContaining("Item book is stranded in prep: "),
    itemId: item.id,
    visitId: item.visitId,
    pipeline: "p",
    stage: "prep",
    key: "book",
  });
});

test("one item that fails never stops the others", async () => {
  const world = await reconcilerWorld();
  const first = await doneWithoutAdvance(world, "one");
  const second = await doneWithoutAdvance(world, "two");
  const finaliser: ReconcilerDeps["finaliser"] = {
    finalise: async (run: LiveRun) => {
      if (run.itemId === first.id) throw new Error("broken");
      return {
        kind: "settle",
        settlement: success({ ...run, runId: run.id }, { advance: { kind: "finish" } }),
      };
    },
  };
  expect(await world.tick(world.restart({ finaliser }))).toMatchObject({ seen: 2, settled: 1, failed: 1 });
  expect(world.eventsOf("loop.subject_failed")).toEqual([{ loop: "reconciler", subject: `item ${first.id}`, message: "broken" }]);
  expect(await itemOf(world, second)).toMatchObject({ state: "done" });
});

test("an item that somebody else moved meanwhile is left alone, without an alert", async () => {
  const world = await reconcilerWorld();
  const item = await doneWithoutAdvance(world);
  const finaliser: ReconcilerDeps["finaliser"] = {
    finalise: async (run: LiveRun) => {
      await world.tick(world.loop);
      world.events.length = 0;
      return {
        kind: "settle",
        settlement: success({ ...run, runId: run.id }, { advance: { kind: "finish" } }),
      };
    },
  };
  expect(await world.tick(world.restart({ finaliser }))).toMatchObject({ settled: 0, lost: 1 });
  expect(await itemOf(world, item)).toMatchObject({ stage: "ocr", state: "active" });
  expect(world.events).toEqual([]);
});

test("a crash after the move and before its alert leaves an item that is not moved again", async () => {
  const world = await reconcilerWorld();
  const item = await doneWithoutAdvance(world);
  await world.tick(world.restart({ alert: async () => await Promise.reject(new Error("crash")) }));
  await world.tick(world.restart());
  expect(await itemOf(world, item)).toMatchObject({ stage: "ocr" });
  expect(await unfinishedJobs(world, item)).toBe(1);
});

test("a tick continues behind the last page, and a dry run says what would be done", async () => {
  const world = await reconcilerWorld();
  for (const key of ["a", "b", "c"]) await doneWithoutAdvance(world, key);
  const loop = world.restart({ pageSize: 1, itemsMax: 2 });
  const dry = await world.tick(loop, { dryRun: true });
  expect(dry.would).toHaveLength(2);
  expect(dry.settled).toBe(0);
  expect(await world.tick(loop)).toMatchObject({ settled: 2, nextInMs: 0 });
  expect(await world.tick(loop)).toMatchObject({ settled: 1 });
});

test("a slot that was counted wrongly is corrected, with an event", async () => {
  const definition = chain("p", ["prep"], { stage: { concurrency: 2 } });
  const world = await loopWorld([definition]);
  const { store, registry } = world;
  world.sql("update slots set used = 2");
  const finaliser = { finalise: async () => await Promise.reject(new Error("not asked")) };
  await world.tick(new Reconciler({ store, registry, hosts, finaliser, alert: world.alert }));
  expect(await store.upkeep.slots()).toMatchObject([{ key: "p.prep", used: 0 }]);
  expect(world.eventsOf("defect.found")).toMatchObject([{ where: "slots" }]);
});
