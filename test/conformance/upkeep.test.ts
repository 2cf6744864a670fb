import { expect, test } from "vitest";
import { asJobId, asRunId, firstIdOfEpoch } from "../../src/domain/ids.ts";
import { hours, minutes } from "../../src/domain/time.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  failure,
  farFuture,
  registerWorker,
  retried,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

describeStores((open) => {
  test("counts tell unfinished jobs by queue and state, blocked and paused ones among them", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}] });
    await store.jobs.enqueue({ queue: "t", delayMs: minutes(5), jobs: [{}] });
    const [held, blocked, running] = await claim(store, { max: 3 });
    if (held === undefined || blocked === undefined || running === undefined) throw new Error("not claimed");
    await store.runs.settle([failure(held, { disposition: "hold" }), retried(blocked, { stopBy: farFuture })]);
    const paused = await addItem(store);
    await store.items.setPaused(paused.id, { paused: true, actor: "ana" });
    await store.upkeep.setQueuePaused({ queues: ["p/ocr"], paused: true, actor: "ana" });
    expect(await store.upkeep.counts()).toEqual([
      { queue: "p/ocr", paused: true, states: {}, blocked: 0 },
      { queue: "p/prep", paused: false, states: { queued: 1 }, blocked: 0 },
      { queue: "t", paused: false, states: { scheduled: 1, held: 1, queued: 1, running: 1 }, blocked: 1 },
    ]);
  });

  test("lists of jobs page by id and find any mixture of states", async () => {
    const { store } = await withQueues(open);
    const ids = await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}, {}, {}] });
    const [done, failed] = await claim(store, { max: 2 });
    if (done === undefined || failed === undefined) throw new Error("not claimed");
    await store.runs.settle([success(done), failure(failed)]);
    const running = await claimOne(store);
    await addItem(store);
    const list = async (options: Partial<Parameters<typeof store.upkeep.listJobs>[0]>) =>
      (await store.upkeep.listJobs({ limit: 10, queue: "t", ...options })).map((job) => job.id);
    expect(await list({})).toEqual(ids.toReversed());
    expect(await list({ limit: 2 })).toEqual([ids[4], ids[3]]);
    expect(await list({ limit: 2, before: ids[3] ?? asJobId(0) })).toEqual([ids[2], ids[1]]);
    expect(await list({ states: ["running"] })).toEqual([running.jobId]);
    expect(await list({ states: ["failed", "done"] })).toEqual([failed.jobId, done.jobId]);
    expect(await list({ states: ["queued", "failed"] })).toEqual([ids[4], ids[3], failed.jobId]);
    expect(await list({ states: ["held", "scheduled"] })).toEqual([]);
    expect(await store.upkeep.listJobs({ limit: 10 })).toHaveLength(6);
  });

  test("a paused queue is not claimed from until it is resumed", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    expect(await store.upkeep.setQueuePaused({ queues: "all", paused: true, actor: "ana" })).toBe(3);
    expect(await store.upkeep.setQueuePaused({ queues: ["t"], paused: true, actor: "ana" }), "it is already").toBe(0);
    expect(await store.upkeep.pausedQueues()).toEqual(["p/ocr", "p/prep", "t"]);
    expect(await claim(store)).toEqual([]);
    await store.upkeep.setQueuePaused({ queues: ["t"], paused: false, actor: "ana" });
    expect(await claim(store)).toHaveLength(1);
    expect(await store.upkeep.setQueuePaused({ queues: [], paused: false, actor: "ana" })).toBe(0);
  });

  test("a slot that lost count is set to the runs that hold it", async () => {
    const { store, query } = await withQueues(open);
    await addItem(store, "a");
    await claimOne(store);
    expect(await store.upkeep.recountSlots()).toEqual([]);
    await query("update slots set used = 2 returning key");
    expect(await store.upkeep.checkInvariants()).toMatchObject([{ rule: "a slot counts the runs that hold it", subject: "slot p.prep" }]);
    expect(await store.upkeep.recountSlots()).toEqual(["p.prep"]);
    expect(await store.upkeep.slots()).toEqual([{ key: "p.prep", capacity: 2, used: 1 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("retention takes what finished before, and never anything unfinished, held or blocked", async () => {
    const { store, clock } = await withQueues(open);
    const ended = await registerWorker(store, "ended");
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}, {}] });
    const [done, held, blocked, running] = await claim(store, { max: 4, workerId: ended });
    if (done === undefined || held === undefined || blocked === undefined || running === undefined) throw new Error("not claimed");
    await store.runs.settle([success(done), failure(held, { disposition: "hold" }), failure(blocked, { stopBy: farFuture })]);
    await store.workers.leave(ended);
    const finished = await addItem(store, "finished");
    await store.items.cancel(finished.id, { actor: "ana", reason: "not needed", stopBy: farFuture });
    const active = await addItem(store, "active");
    const prep = await claimOne(store);
    await startRun(store, prep);
    await store.runs.settle([success(prep, { actor: "worker" })]); // stranded: finished job, unfinished item
    const cutoff = clock.advance(hours(1));

    const first = await store.upkeep.prune({ finishedBefore: cutoff, limit: 100 });
    expect(first).toEqual({ jobs: 2, items: [{ dir: "finished" }], runs: [done.runId], more: false });
    expect(await store.jobs.get(done.jobId)).toBeUndefined();
    expect(await store.runs.get(done.runId)).toBeUndefined();
    expect(await store.items.get(finished.id)).toBeUndefined();
    expect(await store.items.visits(finished.id)).toEqual([]);
    expect(await store.actions.list({ itemId: finished.id, limit: 10 })).toEqual([]);
    for (const run of [held, blocked, running, prep]) expect(await store.jobs.get(run.jobId)).toBeDefined();
    expect(await store.items.get(active.id)).toBeDefined();
    expect(await store.actions.list({ itemId: active.id, limit: 10 })).not.toEqual([]);
    expect(await store.workers.get(ended), "its run is live").toBeDefined();
    expect(await store.upkeep.checkInvariants()).toEqual([]);

    await store.runs.clearBlocks([{ jobId: blocked.jobId, runId: blocked.runId, proof: "exited", actor: "stopper" }]);
    await store.runs.settle([success(running)]);
    const second = await store.upkeep.prune({ finishedBefore: clock.advance(1), limit: 100 });
    expect(new Set(second.runs)).toEqual(new Set([blocked.runId, running.runId]));
    expect(await store.workers.get(ended)).toBeUndefined();
    expect(await store.jobs.get(held.jobId)).toBeDefined();
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("retention goes a bounded page at a time, oldest first", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}] });
    const runs = await claim(store, { max: 3 });
    for (const run of runs) {
      await store.runs.settle([success(run)]);
      clock.advance(1);
    }
    const page = { finishedBefore: clock.now(), limit: 2 };
    expect(await store.upkeep.prune(page)).toMatchObject({ jobs: 2, runs: [runs[0]?.runId, runs[1]?.runId], more: true });
    expect(await store.upkeep.prune(page)).toMatchObject({ jobs: 1, more: false });
  });

  test("what a broken store breaks is told by rule and subject", async () => {
    const { store, query } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    await query(`update runs set check_at = null where id = ${run.runId} returning id`);
    await query(`update visits set state = 'passed', closed_at = 1 where id = ${item.visitId} returning id`);
    await query(`update jobs set run_count = 9 where id = ${run.jobId} returning id`);
    await query(`update visits set max_attempts = 9 where id = ${item.visitId} returning id`);
    const [plain] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    await query(`update jobs set attempts = 1 where id = ${plain} returning id`);
    const rules = (await store.upkeep.checkInvariants()).map((breach) => breach.rule);
    expect(rules).toEqual([
      "a live run has an instant at which it is judged",
      "a job has as many runs as it counts",
      "an unfinished item is in an open visit of its stage, a finished one in none",
      "an unfinished job of a visit belongs to an open visit",
      "an unfinished job and its visit have spent the same, and may spend the same",
      "an unfinished plain job counts the attempts that its runs have spent",
    ]);
    expect(await store.upkeep.integrityCheck(), "the engine's own files are sound").toEqual([]);
  });

  test("the store's start counter tells a restore from an ordinary start", async () => {
    const { store } = await withQueues(open);
    expect(await store.upkeep.recordStart(undefined)).toEqual({ startSeq: 1, epochRaised: false });
    expect(await store.upkeep.recordStart(1)).toEqual({ startSeq: 2, epochRaised: false });
    expect(await store.upkeep.recordStart(1), "a crash between the commit and the file").toEqual({ startSeq: 3, epochRaised: false });
    expect(await store.upkeep.recordStart(7), "the file is ahead: the store is an old copy").toEqual({ startSeq: 8, epochRaised: true });
    expect(await store.upkeep.storeEpoch()).toBe(1);
    const lostFile = await store.upkeep.recordStart(undefined);
    expect(lostFile).toEqual({ startSeq: 9, epochRaised: !store.capabilities.manyWriters });
  });

  test("after a raise of the epoch no run id of the old one is given out", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    const before = await claimOne(store);
    expect(before.runId).toBeLessThan(firstIdOfEpoch(1));
    const raised = await Promise.all([store.upkeep.raiseEpoch("restored"), store.upkeep.raiseEpoch("promoted")]);
    expect(raised.toSorted((a, b) => a - b)).toEqual([1, 2]);
    const after = await claimOne(store);
    expect(after.runId).toBeGreaterThan(firstIdOfEpoch(2));
    expect(after.runId).toBeLessThan(asRunId(firstIdOfEpoch(3)));
  });

  test("run ids are not given out again after retention and a new opening", async () => {
    const { store, clock, openAgain } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    const first = await claimOne(store);
    await store.runs.settle([success(first)]);
    await store.upkeep.prune({ finishedBefore: clock.advance(1), limit: 10 });
    await store.close();
    const second = await claimOne(await openAgain());
    expect(second.runId).toBeGreaterThan(first.runId);
  });

  test("the clock is told the newest instant that the store holds", async () => {
    const { store, clock, openAgain } = await withQueues(open);
    expect(await store.upkeep.newestInstant()).toBeUndefined();
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const newest = clock.advance(hours(2));
    await registerWorker(store);
    expect(await store.upkeep.newestInstant()).toBe(newest);
    await store.close();
    const floors: number[] = [];
    await openAgain({ clock: { now: () => clock.now(), floor: (instant) => floors.push(instant) } });
    expect(floors).toEqual([newest]);
  });

  test("settings are kept and replaced", async () => {
    const { store } = await open();
    expect(await store.upkeep.setting("theme")).toBeUndefined();
    await store.upkeep.putSetting("theme", "dark");
    await store.upkeep.putSetting("theme", "light");
    expect(await store.upkeep.setting("theme")).toBe("light");
    expect(await store.upkeep.setting("store_epoch"), "the store's own numbers are not settings").toBeUndefined();
    expect(await store.upkeep.sizeBytes()).toBeGreaterThan(10_000);
  });

  test("what runs when the store is opened again is still there, claimed and counted [A-G4]", async () => {
    const { store, openAgain } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.close();
    const again = await openAgain();
    expect(await again.runs.listAllLive({ limit: 10 })).toMatchObject([
      { id: run.runId, jobId: run.jobId, state: "started", itemId: item.id, attempts: 1 },
    ]);
    expect(await again.jobs.get(run.jobId)).toMatchObject({ state: "running", currentRunId: run.runId });
    expect(await again.upkeep.checkInvariants()).toEqual([]);
    await again.runs.settle([success(run, { advance: { kind: "finish" } })]);
    expect(await again.items.get(item.id)).toMatchObject({ state: "done" });
  });
});
