import { expect, test } from "vitest";
import { asJobId } from "../../src/domain/ids.ts";
import { minutes } from "../../src/domain/time.ts";
import { addItem, claim, claimOne, declareQueues, failure, farFuture, retried, success } from "../support/store-rows.ts";
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
});
