import { expect, test } from "vitest";
import type { ItemId, JobId } from "../../src/domain/ids.ts";
import { minutes } from "../../src/domain/time.ts";
import { present } from "../support/present.ts";
import {
  addItem,
  atOnce,
  claim,
  claimOne,
  declareQueues,
  failure,
  farFuture,
  later,
  onlyJobOf,
  retried,
  stageEntry,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

const actor = "ana";
const held = { actor, reason: "undeclared", message: "its stage is gone" };

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  const { store, query } = opened;
  await declareQueues(store);
  return {
    ...opened,
    /** Which of the jobs may be claimed, as the table says; every rule of the store holds besides. */
    readyOf: async (...jobIds: readonly JobId[]): Promise<readonly boolean[]> => {
      expect(await store.upkeep.checkInvariants()).toEqual([]);
      const rows = await query("select job_id from ready");
      const ready = new Set(rows.map((row) => Number(row["job_id"])));
      return jobIds.map((id) => ready.has(id));
    },
    pause: async (id: ItemId, paused: boolean) => await store.items.setPaused(id, { paused, actor }),
  };
}

describeStores((open) => {
  test("a job that waits for its time is not claimable, and is once it is promoted", async () => {
    const { store, clock, readyOf } = await withQueues(open);
    const [now] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const [delayed] = await store.jobs.enqueue({ queue: "t", delayMs: 1000, jobs: [{}] });
    const jobs = [present(now), present(delayed)];
    expect(await readyOf(...jobs)).toEqual([true, false]);
    clock.advance(1000);
    expect(await store.jobs.promoteDue(10)).toMatchObject({ moved: 1 });
    expect(await readyOf(...jobs)).toEqual([true, true]);
  });

  test("a pause takes a waiting job out of what is claimable, and only marks one that runs or waits for its time", async () => {
    const { store, clock, readyOf, pause } = await withQueues(open);
    const item = await addItem(store);
    const jobId = await onlyJobOf(store, item.id);
    await pause(item.id, true);
    expect(await readyOf(jobId)).toEqual([false]);
    await pause(item.id, false);
    expect(await readyOf(jobId)).toEqual([true]);

    const run = await claimOne(store);
    expect(await readyOf(jobId), "claimed").toEqual([false]);
    await pause(item.id, true);
    expect(await store.jobs.get(jobId)).toMatchObject({ state: "running", paused: true });
    await pause(item.id, false);
    expect(await readyOf(jobId), "it runs").toEqual([false]);
    await pause(item.id, true);
    await startRun(store, run);
    await store.runs.settle([retried(run)]);
    expect(await readyOf(jobId), "back, and paused").toEqual([false]);
    expect(await store.upkeep.listJobs({ states: ["queued"], limit: 10 })).toMatchObject([{ id: jobId, paused: true }]);
    await pause(item.id, false);
    expect(await readyOf(jobId)).toEqual([true]);

    const again = await claimOne(store);
    await startRun(store, again);
    await store.runs.settle([retried(again, { retry: later(minutes(5)) })]);
    await pause(item.id, true);
    clock.advance(minutes(5));
    expect(await store.jobs.promoteDue(10)).toMatchObject({ moved: 1 });
    expect(await readyOf(jobId), "promoted, and paused").toEqual([false]);
    await pause(item.id, false);
    expect(await readyOf(jobId)).toEqual([true]);
  });

  test("a block keeps a job out until its proof comes, and then only a pause does", async () => {
    const { store, readyOf, pause } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    const proof = [{ jobId: run.jobId, runId: run.runId, proof: "exited", actor: "stopper" }];
    await startRun(store, run);
    await store.runs.settle([retried(run, { retry: atOnce, stopBy: farFuture })]);
    expect(await readyOf(run.jobId)).toEqual([false]);
    await pause(item.id, true);
    await pause(item.id, false);
    expect(await readyOf(run.jobId), "resumed, and blocked").toEqual([false]);
    await pause(item.id, true);
    await store.runs.clearBlocks(proof);
    expect(await readyOf(run.jobId), "proved, and paused").toEqual([false]);
    await pause(item.id, false);
    expect(await readyOf(run.jobId)).toEqual([true]);
    expect(await store.runs.clearBlocks(proof), "asked again").toEqual([false]);
    expect(await readyOf(run.jobId)).toEqual([true]);
  });

  test("a job that is held, cancelled or has ended is not claimable; unhold, retry and redrive make it or its successor so", async () => {
    const { store, readyOf } = await withQueues(open);
    const item = await addItem(store);
    const jobId = await onlyJobOf(store, item.id);
    expect(await store.jobs.hold(jobId, held)).toEqual({ kind: "held" });
    expect(await readyOf(jobId)).toEqual([false]);
    await store.jobs.unhold(jobId, { actor, force: false });
    expect(await readyOf(jobId)).toEqual([true]);
    await store.jobs.cancel(jobId, { actor, reason: "not needed", stopBy: farFuture });
    expect(await readyOf(jobId)).toEqual([false]);
    const rerun = present(await store.items.rerun(item.id, { entry: stageEntry("prep"), uncounted: [], actor }));
    expect(await readyOf(rerun)).toEqual([true]);

    const [task] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const run = await claimOne(store, { queues: ["t"] });
    await store.runs.settle([failure(run, { stopBy: farFuture })]);
    const retry = present(await store.jobs.retry(present(task), { actor }));
    expect(await readyOf(run.jobId, retry), "the new one waits for the same proof").toEqual([false, false]);
    await store.runs.clearBlocks([{ jobId: run.jobId, runId: run.runId, proof: "exited", actor: "stopper" }]);
    expect(await readyOf(run.jobId, retry)).toEqual([false, true]);
  });

  test("a person's word ends the block of every job that waits for the same run, and each of them is claimable", async () => {
    const { store, readyOf } = await withQueues(open);
    await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([success(run, { advance: stageEntry("ocr"), actor: "worker", stopBy: farFuture })]);
    const next = await onlyJobOf(store, present(run.itemId));
    expect(await store.jobs.get(next)).toMatchObject({ state: "queued", blockedBy: run.runId });
    expect(await readyOf(next)).toEqual([false]);
    expect(await store.jobs.unhold(run.jobId, { actor, force: true })).toBe(true);
    expect(await readyOf(run.jobId, next), "the first is done").toEqual([false, true]);
    expect(await claim(store)).toMatchObject([{ jobId: next }]);
  });
});
