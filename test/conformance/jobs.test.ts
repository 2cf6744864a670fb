import { expect, test } from "vitest";
import { asJobId } from "../../src/domain/ids.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  failure,
  farFuture,
  onlyJobOf,
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

const person = { actor: "ana", reason: "not needed", stopBy: farFuture };

describeStores((open) => {
  test("a plain job keeps what it was enqueued with, and its defaults are 2 attempts and priority 0 [B-36]", async () => {
    const { store } = await withQueues(open);
    const [id] = await store.jobs.enqueue({ queue: "t", agent: "developer", repo: "shop", jobs: [{ payload: '{"n":1}' }] });
    expect(await store.jobs.get(id ?? asJobId(0))).toMatchObject({
      id,
      queue: "t",
      state: "queued",
      priority: 0,
      attempts: 0,
      maxAttempts: 2,
      maxLosses: null,
      runCount: 0,
      currentRunId: null,
      blockedBy: null,
      stopBy: null,
      paused: false,
      itemId: null,
      visitId: null,
      agent: "developer",
      repo: "shop",
      payload: '{"n":1}',
      output: null,
      error: null,
      createdAt: store.now(),
      finishedAt: null,
    });
    expect(await store.jobs.get(asJobId(999_999))).toBeUndefined();
  });

  test("cancelling a queued, scheduled or held job makes it final at once; cancelling it again changes nothing", async () => {
    const { store } = await withQueues(open);
    const [queued] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const [scheduled] = await store.jobs.enqueue({ queue: "t", delayMs: 60_000, jobs: [{}] });
    expect(await store.jobs.cancel(queued ?? asJobId(0), person)).toEqual({});
    expect(await store.jobs.cancel(scheduled ?? asJobId(0), person)).toEqual({});
    const [held] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([failure(run, { disposition: "hold" })]);
    expect(await store.jobs.cancel(held ?? asJobId(0), person)).toEqual({});
    for (const id of [queued, scheduled, held]) {
      expect(await store.jobs.get(id ?? asJobId(0))).toMatchObject({ state: "cancelled", finishedAt: store.now(), blockedBy: null });
      expect(await store.jobs.cancel(id ?? asJobId(0), person)).toBeUndefined();
    }
    expect(await claim(store)).toEqual([]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a settle that comes after a cancel changes nothing and learns who decided [B-32] [B-49] [B-G1]", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const run = await claimOne(store);
    await startRun(store, run);
    const ended = { runId: run.runId, jobId: run.jobId, queue: "t" };
    expect(await store.jobs.cancel(run.jobId, person)).toEqual({ run: ended });
    const before = await store.jobs.get(run.jobId);
    const [answer] = await store.runs.settle([success(run)]);
    expect(answer).toMatchObject({ kind: "lost", now: { state: "ended" } });
    expect(await store.jobs.get(run.jobId)).toEqual(before);
    expect(await store.runs.get(run.runId)).toMatchObject({ outcome: "cancelled", reason: "cancelled", spent: "nothing" });
  });

  test("cancelling spends nothing: the attempt that a start counted is given back, on the visit too", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const plain = await claimOne(store);
    await startRun(store, plain);
    const item = await addItem(store);
    const first = await claimOne(store);
    await startRun(store, first);
    await store.runs.settle([retried(first)]);
    const second = await claimOne(store);
    await startRun(store, second);
    expect(await store.jobs.get(second.jobId)).toMatchObject({ attempts: 2 });
    for (const run of [plain, second]) {
      expect(await store.jobs.cancel(run.jobId, person)).toMatchObject({ run: { runId: run.runId } });
      expect(await store.runs.get(run.runId)).toMatchObject({ outcome: "cancelled", spent: "nothing" });
    }
    expect(await store.jobs.get(plain.jobId)).toMatchObject({ state: "cancelled", attempts: 0, runCount: 1 });
    expect(await store.jobs.get(second.jobId)).toMatchObject({ state: "cancelled", attempts: 1, runCount: 2 });
    expect(await store.items.visits(item.id)).toMatchObject([{ state: "returned", attempts: 1 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("cancelling a reserved run takes no attempt off, for none was counted", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const first = await claimOne(store);
    await startRun(store, first);
    await store.runs.settle([retried(first)]);
    const reserved = await claimOne(store);
    expect(await store.jobs.cancel(reserved.jobId, person)).toEqual({
      run: { runId: reserved.runId, jobId: reserved.jobId, queue: "p/prep" },
      item: { kind: "cancelled", itemId: item.id },
    });
    expect(await store.runs.get(reserved.runId)).toMatchObject({ outcome: "cancelled", spent: "nothing" });
    expect(await store.jobs.get(reserved.jobId)).toMatchObject({ attempts: 1 });
    expect(await store.items.visits(item.id)).toMatchObject([{ attempts: 1 }]);
  });

  test("a flip of a job that is queued again changes nothing [B-33]", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([retried(run)]);
    const queued = await store.jobs.get(run.jobId);
    expect(queued).toMatchObject({ state: "queued", attempts: 1 });
    const [answer] = await store.runs.settle([success(run)]);
    expect(answer?.kind).toBe("lost");
    expect(await store.jobs.get(run.jobId)).toEqual(queued);
  });

  test("unhold queues the same job with one attempt more, on its visit too", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([failure(run, { disposition: "hold" })]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "held", maxAttempts: 3 });
    expect(await store.items.get(item.id), "held is unfinished: its item stays active").toMatchObject({ state: "active" });
    expect(await store.jobs.unhold(run.jobId, { actor: "ana", force: false })).toBe(true);
    expect(await store.jobs.unhold(run.jobId, { actor: "ana", force: false })).toBe(false);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "queued", maxAttempts: 4 });
    expect(await store.items.visits(item.id)).toMatchObject([{ state: "open", maxAttempts: 4 }]);
    expect(await onlyJobOf(store, item.id)).toBe(run.jobId);
    expect(await claim(store)).toMatchObject([{ jobId: run.jobId, attempt: 2 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("unhold --force lets a job go on whose old run cannot be stopped, and gives the slot back", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([failure(run, { disposition: "hold", stopBy: farFuture })]);
    expect(await store.jobs.unhold(run.jobId, { actor: "ana", force: false })).toBe(true);
    expect(await store.jobs.get(run.jobId), "still blocked").toMatchObject({ state: "queued", blockedBy: run.runId });
    expect(await store.jobs.unhold(run.jobId, { actor: "ana", force: true })).toBe(true);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "queued", blockedBy: null, stopBy: null });
    expect(await store.upkeep.slots()).toMatchObject([{ key: "p.prep", used: 0 }]);
    expect(await store.actions.list({ itemId: item.id, limit: 1 })).toMatchObject([
      { action: "job.unheld", actor: "ana", reason: "forced" },
    ]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("retry makes a new job of a finished plain one, with a fresh budget and the same payload", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", maxAttempts: 1, priority: 7, jobs: [{ payload: "1" }] });
    const run = await claimOne(store);
    expect(await store.jobs.retry(run.jobId, { actor: "ana" }), "it is not finished").toBeUndefined();
    await startRun(store, run);
    await store.runs.settle([failure(run)]);
    const again = await store.jobs.retry(run.jobId, { actor: "ana" });
    expect(again).not.toBe(run.jobId);
    expect(await store.jobs.get(again ?? run.jobId)).toMatchObject({
      state: "queued",
      attempts: 0,
      maxAttempts: 1,
      priority: 7,
      payload: "1",
      error: null,
    });
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "failed" });
  });

  test("retry is not for jobs of items, whose item decides", async () => {
    const { store } = await withQueues(open);
    await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([failure(run)]);
    expect(await store.jobs.retry(run.jobId, { actor: "ana" })).toBeUndefined();
  });

  test("making queues known again changes their slot's capacity at once", async () => {
    const { store } = await withQueues(open);
    await store.jobs.ensureQueues([{ name: "p/prep", kind: "command", slot: { key: "p.prep", capacity: 5 } }]);
    expect(await store.upkeep.slots()).toEqual([{ key: "p.prep", capacity: 5, used: 0 }]);
  });

  test("concurrent cancels and settles of many jobs leave each job with one end", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 20 }, () => ({})) });
    const runs = await claim(store, { max: 20 });
    expect(runs).toHaveLength(20);
    for (const run of runs) await startRun(store, run);
    const [cancelled, settled] = await Promise.all([
      Promise.all(runs.map((run) => store.jobs.cancel(run.jobId, person))),
      Promise.all(runs.map((run) => store.runs.settle([success(run)]))),
    ]);
    for (const [index, run] of runs.entries()) {
      const won = { cancel: cancelled[index] !== undefined, settle: settled[index]?.[0]?.kind === "ok" };
      expect(won.cancel, `job ${run.jobId}`).toBe(!won.settle);
      expect(await store.jobs.get(run.jobId)).toMatchObject({ state: won.settle ? "done" : "cancelled" });
    }
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
