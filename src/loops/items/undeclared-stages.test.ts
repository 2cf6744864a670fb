import { expect, test, vi } from "vitest";
import { chain, type LoopWorld, loopWorld } from "../../../test/support/loop-world.ts";
import { claimOne, farFuture, later, processOn, retried, startRun } from "../../../test/support/store-rows.ts";
import { asHostId } from "../../domain/ids.ts";
import { runTaskName } from "../../domain/run-task.ts";
import { canonicalJson, type PipelineDefinition } from "../../pipelines/definition.ts";
import { PipelineRegistry } from "../../pipelines/registry.ts";
import type { ItemRow } from "../../store/port/items.ts";
import type { JobRow } from "../../store/port/jobs.ts";
import type { Loop } from "../skeleton/loop.ts";
import { Reconciler, type ReconcilerDeps } from "./reconciler.ts";

const hosts = { hostId: asHostId("host-a"), pinnedHostLostMs: () => 600_000 };

/** The reconciler of a daemon that starts on this store with these pipelines. */
async function restartedWith(
  world: LoopWorld,
  pipelines: readonly PipelineDefinition[],
  overrides: Partial<ReconcilerDeps> = {},
): Promise<Loop> {
  const registry = new PipelineRegistry(pipelines);
  for (const { definition, version } of registry.all()) {
    await world.store.items.putPipeline({ pipeline: definition.name, hash: version, definition: canonicalJson(definition) });
  }
  await world.store.jobs.ensureQueues(registry.queues());
  const finaliser = { finalise: () => Promise.reject(new Error("nothing here is finalised")) };
  return new Reconciler({ store: world.store, registry, hosts, finaliser, alert: world.alert, ...overrides });
}

async function addItem(world: LoopWorld, key = "book", stage = "prep"): Promise<ItemRow> {
  const first = world.registry.entry("p", stage);
  if (first === undefined) throw new Error("no such stage");
  return (await world.store.items.add({ pipeline: "p", key, dir: key, input: "{}", first, actor: "test" })).item;
}

async function jobOf(world: LoopWorld, item: ItemRow): Promise<JobRow> {
  const job = (await world.store.items.jobs(item.id)).at(-1);
  if (job === undefined) throw new Error("no job");
  return job;
}

const alertsOf = async (world: LoopWorld): Promise<string[]> =>
  (await world.store.outbox.due(1000)).filter((entry) => entry.kind === "alert").map((entry) => entry.key);

/** The daemon that had the stage is gone, and its sessions with it. */
async function everyoneLeaves(world: LoopWorld): Promise<void> {
  for (const { id } of await world.store.workers.listAlive()) await world.store.workers.leave(id);
}

/** A shared store's answer: which pipelines the other daemons declare. */
const othersDeclare = (world: LoopWorld, pipelines: readonly string[]) =>
  vi.spyOn(world.store.items, "declaredPipelines").mockResolvedValue(pipelines);

const withoutPrep = chain("p", ["scan", "ocr"]);

test("a job that waits for a stage which is not declared any more is held, with one alert that names the stage and what to do", async () => {
  const world = await loopWorld();
  const item = await addItem(world);
  const { id } = await jobOf(world, item);
  const loop = await restartedWith(world, [withoutPrep]);
  expect(await world.tick(loop)).toMatchObject({ seen: 1, settled: 1, lost: 0, failed: 0 });
  const message = `stage prep of pipeline p is not declared any more: declare it again, then \`wakeful unhold job:${id}\`; or \`wakeful cancel job:${id}\``;
  expect(await jobOf(world, item)).toMatchObject({ state: "held", error: message, attempts: 0 });
  expect(await alertsOf(world)).toEqual([`job.held:${id}:waiting`]);
  expect(world.eventsOf("job.held")).toEqual([{ jobId: id, queue: "p/prep", actor: "reconciler", reason: "stage_undeclared", message }]);
  expect(loop.details()).toMatchObject({ held: 1 });
  expect(await world.store.upkeep.checkInvariants()).toEqual([]);
});

test("a held job is left alone by every later tick and by the next daemon: nobody is told twice", async () => {
  const world = await loopWorld();
  await addItem(world);
  await world.tick(await restartedWith(world, [withoutPrep]));
  for (const entry of await world.store.outbox.due(100)) await world.store.outbox.done(entry);
  const next = await restartedWith(world, [withoutPrep]);
  for (let tick = 0; tick < 3; tick++) expect(await world.tick(next)).toMatchObject({ seen: 0, settled: 0 });
  expect(await world.store.outbox.due(100)).toEqual([]);
});

test("a job that backs off and one that is blocked or paused are held alike; a running one is not", async () => {
  const world = await loopWorld();
  const items = [];
  for (const key of ["off", "blocked", "running", "paused"]) items.push(await addItem(world, key));
  const [off, blocked, running, paused] = items as [ItemRow, ItemRow, ItemRow, ItemRow];
  const runs = [];
  for (let count = 0; count < 3; count++) {
    const run = await claimOne(world.store, { queues: ["p/prep"] });
    await startRun(world.store, run);
    runs.push(run);
  }
  const [first, second] = runs as [(typeof runs)[number], (typeof runs)[number]];
  await world.store.runs.settle([retried(first, { retry: later(3_600_000) })]);
  await world.store.runs.settle([retried(second, { stopBy: farFuture })]);
  await world.store.items.setPaused(paused.id, { paused: true, actor: "test" });
  await everyoneLeaves(world);
  expect(await world.tick(await restartedWith(world, [withoutPrep]))).toMatchObject({ settled: 3 });
  expect((await jobOf(world, off)).state).toBe("held");
  expect(await jobOf(world, blocked)).toMatchObject({ state: "held", blockedBy: second.runId });
  expect(await jobOf(world, paused)).toMatchObject({ state: "held", paused: true });
  expect((await jobOf(world, running)).state).toBe("running");
});

test("the alert says when a whole pipeline was removed", async () => {
  const world = await loopWorld();
  const item = await addItem(world);
  await world.tick(await restartedWith(world, []));
  expect(await jobOf(world, item)).toMatchObject({
    state: "held",
    error: expect.stringContaining("pipeline p, and with it stage prep, is not declared any more"),
  });
});

test("tasks outside pipelines and the commands of `wakeful run` are never held, whatever their queues are called", async () => {
  const world = await loopWorld();
  await world.store.jobs.ensureQueues(["task", "mail/send", "p/prep/more", runTaskName].map((name) => ({ name, kind: "handler" })));
  const ids = [];
  for (const queue of ["task", "mail/send", "p/prep/more", runTaskName, "p/prep"]) {
    ids.push(...(await world.store.jobs.enqueue({ queue, jobs: [{}] })));
    ids.push(...(await world.store.jobs.enqueue({ queue, delayMs: 60_000, jobs: [{}] })));
  }
  expect(await world.tick(await restartedWith(world, []))).toMatchObject({ seen: 0, settled: 0, failed: 0 });
  for (const id of ids) expect(["queued", "scheduled"]).toContain((await world.store.jobs.get(id))?.state);
  expect(await alertsOf(world)).toEqual([]);
});

test("a stage whose queue a live session serves is another daemon's; once that has gone for good, its jobs are held", async () => {
  const world = await loopWorld();
  const item = await addItem(world);
  const process = processOn("host-b");
  const other = await world.store.workers.register({ name: "b", kind: "command", process, concurrency: 1, queues: ["p/prep"] });
  const loop = await restartedWith(world, [withoutPrep]);
  expect(await world.tick(loop)).toMatchObject({ settled: 0 });
  await world.store.workers.drain(other);
  expect(await world.tick(loop)).toMatchObject({ settled: 0 });
  expect((await jobOf(world, item)).state).toBe("queued");
  await world.store.workers.leave(other);
  expect(await world.tick(loop)).toMatchObject({ settled: 1 });
});

test("on a shared store a stage that the newest version of another's pipeline has is not held, also while that daemon is down", async () => {
  const world = await loopWorld();
  const item = await addItem(world);
  othersDeclare(world, ["p"]);
  const loop = await restartedWith(world, []);
  expect(await world.tick(loop)).toMatchObject({ settled: 0 });
  expect(await alertsOf(world)).toEqual([]);
  expect((await jobOf(world, item)).state).toBe("queued");
});

test("on a shared store a stage that the newest version of the pipeline has lost is held by any of its daemons", async () => {
  const world = await loopWorld();
  const item = await addItem(world);
  othersDeclare(world, ["p"]);
  await world.tick(await restartedWith(world, [withoutPrep]));
  expect((await jobOf(world, item)).state).toBe("held");
});

test("jobs that wait for a daemon which stays away are reported once, after five minutes, and stay as they are", async () => {
  const world = await loopWorld();
  const item = await addItem(world);
  othersDeclare(world, ["p"]);
  const loop = await restartedWith(world, []);
  await world.tick(loop);
  world.clock.advance(299_999);
  await world.tick(loop);
  expect(await alertsOf(world)).toEqual([]);
  world.clock.advance(1);
  await world.tick(loop);
  expect(await alertsOf(world)).toEqual(["stage.unserved:p/prep"]);
  for (const entry of await world.store.outbox.due(100)) await world.store.outbox.done(entry);
  await world.tick(loop);
  expect(await alertsOf(world)).toEqual([]);
  expect((await jobOf(world, item)).state).toBe("queued");
});

test("a stranded item of another daemon's stage is that daemon's: nobody is told that it is not declared", async () => {
  const world = await loopWorld();
  await addItem(world);
  world.sql("delete from ready; delete from jobs");
  othersDeclare(world, ["p"]);
  const loop = await restartedWith(world, []);
  await world.tick(loop);
  expect(await alertsOf(world)).toEqual([]);
  othersDeclare(world, []);
  await world.tick(loop);
  expect(await alertsOf(world)).toEqual([expect.stringContaining("reconciler.stranded:")]);
});

test("a dry run says what it would hold and holds nothing", async () => {
  const world = await loopWorld();
  const item = await addItem(world);
  const { id } = await jobOf(world, item);
  const loop = await restartedWith(world, [withoutPrep]);
  expect(await world.tick(loop, { dryRun: true })).toMatchObject({
    would: [`job ${id}: hold it, because stage prep of pipeline p is not declared any more`],
  });
  expect((await jobOf(world, item)).state).toBe("queued");
  expect(await alertsOf(world)).toEqual([]);
});

test("one job that cannot be held stops no other, and is tried again at the next tick", async () => {
  const world = await loopWorld();
  const [bad, good] = [await addItem(world, "a"), await addItem(world, "b")];
  const loop = await restartedWith(world, [withoutPrep], { pageSize: 1 });
  const fails = vi.spyOn(world.store.jobs, "hold").mockRejectedValueOnce(new Error("the disk is full"));
  expect(await world.tick(loop)).toMatchObject({ seen: 2, settled: 1, failed: 1 });
  expect(world.eventsOf("loop.subject_failed")).toHaveLength(1);
  expect((await jobOf(world, good)).state).toBe("held");
  fails.mockRestore();
  await world.tick(loop);
  expect((await jobOf(world, bad)).state).toBe("held");
});

test("more jobs than one tick may handle are held by ticks that follow at once", async () => {
  const world = await loopWorld();
  for (let index = 0; index < 5; index++) await addItem(world, `book-${index}`);
  const loop = await restartedWith(world, [withoutPrep], { pageSize: 1, itemsMax: 2 });
  expect(await world.tick(loop)).toMatchObject({ settled: 2, nextInMs: 0 });
  expect(await world.tick(loop)).toMatchObject({ settled: 2, nextInMs: 0 });
  const last = await world.tick(loop);
  expect(last).toMatchObject({ settled: 1 });
  expect(last.nextInMs).toBeUndefined();
});

test("where no job can be held, the next tick waits for its interval", async () => {
  const world = await loopWorld();
  for (let index = 0; index < 3; index++) await addItem(world, `book-${index}`);
  const loop = await restartedWith(world, [withoutPrep], { pageSize: 1, itemsMax: 2 });
  const fails = vi.spyOn(world.store.jobs, "hold").mockRejectedValue(new Error("the disk is full"));
  const report = await world.tick(loop);
  expect(report).toMatchObject({ settled: 0, failed: 2 });
  expect(report.nextInMs).toBeUndefined();
  fails.mockRestore();
});

test("declared again and unheld, it is claimed as before", async () => {
  const world = await loopWorld();
  const item = await addItem(world);
  await world.tick(await restartedWith(world, [withoutPrep]));
  const back = await restartedWith(world, [chain("p", ["prep", "ocr"])]);
  await world.tick(back);
  const { id } = await jobOf(world, item);
  expect(await world.store.jobs.unhold(id, { actor: "ana", force: false })).toBe(true);
  await world.tick(back);
  expect(await claimOne(world.store, { queues: ["p/prep"] })).toMatchObject({ jobId: id });
});
