import { expect, test } from "vitest";
import type { JobId } from "../../src/domain/ids.ts";
import type { Store } from "../../src/store/port/store.ts";
import { present } from "../support/present.ts";
import { addItem, claim, claimOne, declareQueues, onlyJobOf, registerWorker, retried, success } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withJobs(open: OpenTestStore, count: number) {
  const opened = await open();
  await declareQueues(opened.store);
  const workerId = await registerWorker(opened.store);
  const jobs = await opened.store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: count }, () => ({})) });
  const next = async (max = 1): Promise<readonly JobId[]> =>
    (await claim(opened.store, { workerId, queues: ["t"], max })).map((run) => run.jobId);
  return { ...opened, workerId, jobs, next };
}

/** As somebody does who gives no hint: another process whose claim was undone. */
const unready = (jobId: JobId): string => `delete from ready where job_id = ${jobId} returning job_id`;
const ready = (jobId: JobId): string =>
  `insert into ready (queue_id, priority, job_id) select queue_id, priority, id from jobs where id = ${jobId} returning job_id`;

/** Resolves with the next hint of jobs that this store hears. */
async function hint(store: Store): Promise<void> {
  await new Promise<void>((resolve) => {
    const stop = store.onHint((heard) => {
      if (heard !== "jobs") return;
      stop();
      resolve();
    });
  });
}

describeStores((open) => {
  test("an urgent job and ones that come back are taken next, however many claims have passed their places", async () => {
    const { store, next, jobs } = await withJobs(open, 12);
    const runs = await claim(store, { queues: ["t"], max: 3 });
    const [retry, held, unspent] = [present(runs[0]), present(runs[1]), present(runs[2])];
    expect(await next(2)).toEqual(jobs.slice(3, 5));
    const [urgent] = await store.jobs.enqueue({ queue: "t", priority: -1, jobs: [{}] });
    expect(await next()).toEqual([urgent]);
    await store.runs.settle([retried(retry)]);
    expect(await next()).toEqual([retry.jobId]);
    await store.runs.settle([retried(held, { disposition: "hold" }), success(unspent)]);
    expect(await next()).toEqual([jobs[5]]);
    await store.jobs.unhold(held.jobId, { actor: "test", force: false });
    expect(await next()).toEqual([held.jobId]);
    expect(await next(2)).toEqual(jobs.slice(6, 8));
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("so is a job that comes of another process, once its hint is heard", async () => {
    const { store, openAgain, next, jobs } = await withJobs(open, 8);
    expect(await next(2)).toEqual(jobs.slice(0, 2));
    expect(await next(2)).toEqual(jobs.slice(2, 4));
    const other = await openAgain();
    const heard = store.capabilities.notifies ? hint(store) : undefined;
    const [urgent] = await other.jobs.enqueue({ queue: "t", priority: -1, jobs: [{}] });
    await heard;
    expect(await next()).toEqual([urgent]);
  });

  test("what comes back without a hint is taken within a second, and at once where a claim finds less than it asks for", async () => {
    const { query, clock, next, jobs } = await withJobs(open, 8);
    const [first, second] = [present(jobs[0]), present(jobs[1])];
    await query(unready(first));
    await query(unready(second));
    expect(await next()).toEqual([jobs[2]]);
    expect(await next()).toEqual([jobs[3]]);
    await query(ready(first));
    clock.advance(1_000);
    expect(await next()).toEqual([first]);
    expect(await next(3)).toEqual(jobs.slice(4, 7));
    expect(await next()).toEqual([jobs[7]]);
    await query(ready(second));
    expect(await next(2)).toEqual([second]);
    expect(await next()).toEqual([]);
  });

  test("a queue that another program gives a slot is claimed within it from then on", async () => {
    const { store, openAgain, next, jobs } = await withJobs(open, 6);
    expect(await next(2)).toEqual(jobs.slice(0, 2));
    const other = await openAgain();
    await other.jobs.ensureQueues([{ name: "t", kind: "handler", slot: { key: "few", capacity: 2 } }]);
    expect(await next(4)).toEqual(jobs.slice(2, 4));
    expect(await store.upkeep.slots()).toEqual(expect.arrayContaining([{ key: "few", capacity: 2, used: 2 }]));
    expect(await next()).toEqual([]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a job of an item is taken in its place among plain ones, counts on its visit, and its state file is told", async () => {
    const { store, workerId, jobs } = await withJobs(open, 3);
    expect((await claimOne(store, { workerId, queues: ["t"] })).jobId).toBe(jobs[0]);
    const item = await addItem(store, "book", { queue: "t" });
    for (const entry of await store.outbox.due(10)) await store.outbox.done(entry);
    const jobId = await onlyJobOf(store, item.id);
    const runs = await claim(store, { workerId, queues: ["t"] });
    expect(runs.map((run) => run.jobId)).toEqual([jobs[1], jobs[2], jobId]);
    expect(runs[2]).toMatchObject({ itemId: item.id, visitId: item.visitId, started: true });
    expect((await store.jobs.get(jobId))?.attempts).toBe(1);
    expect(await store.outbox.due(10)).toMatchObject([{ kind: "state-file", key: `${item.id}` }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
