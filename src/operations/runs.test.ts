import { expect, test } from "vitest";
import { claimOne, declareQueues, startRun, success } from "../../test/support/store-rows.ts";
import { describeStores } from "../../test/support/stores.ts";
import { asRunId } from "../domain/ids.ts";
import type { Store } from "../store/port/store.ts";
import { RunOperations } from "./runs.ts";

async function atWork(store: Store) {
  await declareQueues(store);
  await store.jobs.enqueue({ queue: "t", jobs: [{}] });
  const run = await claimOne(store, { queues: ["t"] });
  await startRun(store, run);
  const told: unknown[] = [];
  return { run, told, operations: new RunOperations({ store, emit: (name, data) => void told.push([name, data]) }) };
}

describeStores((open) => {
  test("a beat is a sign of life and says no more; progress is kept and told", async () => {
    const { store, clock } = await open();
    const { run, told, operations } = await atWork(store);
    clock.advance(5000);
    await operations.beat(run.runId);
    expect(await store.runs.get(run.runId)).toMatchObject({ progressAt: clock.now(), progress: null });
    expect(told).toEqual([]);
    await operations.beat(run.runId, { page: 3 });
    expect((await store.runs.get(run.runId))?.progress).toBe('{"page":3}');
    expect(told).toEqual([["run.progressed", { runId: run.runId, jobId: run.jobId, queue: "t", progress: { page: 3 } }]]);
  });

  test("a run that has ended is told to stop, and one that never was is not found", async () => {
    const { store } = await open();
    const { run, told, operations } = await atWork(store);
    await store.runs.settle([success(run)]);
    await expect(operations.beat(run.runId, 0.5)).rejects.toMatchObject({ code: "conflict", details: { outcome: "succeeded" } });
    await expect(operations.beat(asRunId(999))).rejects.toMatchObject({ code: "not_found" });
    expect(told).toEqual([]);
  });
});
