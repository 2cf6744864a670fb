import { expect, test } from "vitest";
import { asHostId } from "../../src/domain/ids.ts";
import { hours } from "../../src/domain/time.ts";
import type { PruneWalk } from "../../src/store/port/upkeep.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  failure,
  farFuture,
  processOn,
  registerWorker,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

const hostId = asHostId("host-a");

describeStores((open) => {
  test("an item of another host stays for that host, which holds its directory, until that one is not heard of any more [F-9.12]", async () => {
    const { store, clock } = await withQueues(open);
    const elsewhere = processOn("host-b");
    await store.daemons.begin({ process: elsewhere, place: "host-b:/data", version: "1" });
    const item = await addItem(store, "book", {}, elsewhere.hostId);
    await store.items.cancel(item.id, { actor: "ana", reason: "not needed", stopBy: farFuture });
    const finishedBefore = clock.advance(hours(1));
    const prune = async (by: typeof hostId, before = finishedBefore) =>
      (await store.upkeep.prune({ hostId: by, finishedBefore: before, limit: 10 })).items;
    await store.daemons.beat(elsewhere.hostId);
    expect(await prune(hostId)).toEqual([]);
    expect(await prune(elsewhere.hostId)).toEqual([{ dir: "book" }]);

    const another = await addItem(store, "left", {}, elsewhere.hostId);
    await store.items.cancel(another.id, { actor: "ana", reason: "not needed", stopBy: farFuture });
    const later = clock.advance(hours(1));
    expect(await prune(hostId, later), "silent for as long as the item has been over").toEqual([{ dir: "left" }]);
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

    const first = await store.upkeep.prune({ hostId, finishedBefore: cutoff, limit: 100 });
    expect(first).toEqual({ jobs: 2, items: [{ dir: "finished" }], runs: [done.runId], walk: "over", more: false });
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
    const second = await store.upkeep.prune({ hostId, finishedBefore: clock.advance(1), limit: 100 });
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
    const page = { hostId, finishedBefore: clock.now(), limit: 2 };
    const first = await store.upkeep.prune(page);
    expect(first).toMatchObject({ jobs: 2, runs: [runs[0]?.runId, runs[1]?.runId], walk: runs[1]?.jobId, more: true });
    expect(await store.upkeep.prune({ ...page, walk: first.walk })).toMatchObject({ jobs: 1, walk: "over", more: false });
  });

  test("what stays starves nothing behind it: a page looks at a bounded number of jobs and goes on where the page before ended", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 4500 }, () => ({})) });
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}, {}] });
    const [first, second] = await claim(store, { queues: ["p/ocr"] });
    if (first === undefined || second === undefined) throw new Error("not claimed");
    await store.runs.settle([success(first), success(second)]);
    const page = { hostId, finishedBefore: clock.advance(1), limit: 1 };
    const pages: unknown[] = [];
    for (let walk: PruneWalk | undefined; walk !== "over"; ) {
      const pruned = await store.upkeep.prune({ ...page, walk });
      pages.push(pruned.jobs);
      walk = pruned.walk;
    }
    expect(pages).toEqual([0, 0, 1, 1, 0]);
    expect((await store.upkeep.counts()).find(({ queue }) => queue === "t")?.states).toEqual({ queued: 4500 });
    expect(await store.upkeep.prune({ ...page, walk: "over" }), "a walk that is over looks at no job").toMatchObject({
      jobs: 0,
      more: false,
    });
  });

  test("a walk is over at the first page of jobs that are all too young", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    await store.runs.settle([success(await claimOne(store))]);
    const finishedBefore = clock.advance(1);
    await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 5000 }, () => ({})) });
    const first = await store.upkeep.prune({ hostId, finishedBefore, limit: 10 });
    expect(first).toMatchObject({ jobs: 1, more: true });
    expect(await store.upkeep.prune({ hostId, finishedBefore, limit: 10, walk: first.walk })).toMatchObject({
      jobs: 0,
      walk: "over",
      more: false,
    });
  });

  test("what was made while the clock was ahead goes in the end, and so does what was made after it", async () => {
    const { store, clock } = await withQueues(open);
    const finishOne = async () => {
      await store.jobs.enqueue({ queue: "t", jobs: [{}] });
      const run = await claimOne(store);
      await store.runs.settle([success(run)]);
      return run.jobId;
    };
    const right = clock.now();
    const before = await finishOne();
    clock.advance(hours(24 * 365));
    const ahead = await finishOne();
    clock.advance(right + hours(1) - clock.now());
    await store.upkeep.resetClock({ to: clock.now(), actor: "ana" });
    const after = await finishOne();
    for (const id of [before, ahead, after]) expect(await store.jobs.get(id)).toMatchObject({ state: "done" });
    expect(await store.upkeep.prune({ hostId, finishedBefore: clock.advance(1), limit: 10 })).toMatchObject({ jobs: 3, walk: "over" });
  });

  test("jobs whose order of making is not that of their ids all go, once all before them are old enough", async () => {
    const { store, clock, query } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 3 }, () => ({})) });
    const runs = await claim(store, { max: 3 });
    await store.runs.settle(runs.map((run) => success(run)));
    const ahead = clock.now() + hours(24);
    await query(`update jobs set created_at = ${ahead}, finished_at = ${ahead} where id = ${runs[0]?.jobId} returning id`);
    expect(await store.upkeep.prune({ hostId, finishedBefore: clock.advance(1), limit: 10 }), "the two behind it").toMatchObject({
      jobs: 2,
    });
    expect(await store.upkeep.prune({ hostId, finishedBefore: clock.advance(hours(24)), limit: 10 })).toMatchObject({
      jobs: 1,
      walk: "over",
    });
  });
});
