import { expect, test } from "vitest";
import { hours } from "../../src/domain/time.ts";
import { addItem, claim, claimOne, declareQueues, failure, farFuture, registerWorker, startRun, success } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

describeStores((open) => {
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
});
