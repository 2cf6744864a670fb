import { expect, test } from "vitest";
import { addMs } from "../../src/domain/time.ts";
import { present } from "../support/present.ts";
import { addItem, claim, claimOne, declareQueues, later, retried, startRun } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

describeStores((open) => {
  test("a failure with an attempt left goes back to queued, without one it fails [B-34] [B-35] [B-37]", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const first = await claimOne(store);
    expect(await store.runs.settle([retried(first)])).toMatchObject([{ kind: "ok" }]);
    expect(await store.jobs.get(first.jobId)).toMatchObject({ state: "queued", attempts: 1, maxAttempts: 2, finishedAt: null });
    const second = await claimOne(store);
    expect(second.attempt).toBe(2);
    await store.runs.settle([retried(second)]);
    expect(await store.jobs.get(first.jobId)).toMatchObject({ state: "failed", attempts: 2, finishedAt: store.now() });
    expect(await claim(store)).toEqual([]);
  });

  test("a failure that was reported before its run's start was written spends that attempt, and no second one", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", maxAttempts: 2, jobs: [{}] });
    const run = await claimOne(store);
    const told = retried(run);
    await startRun(store, run);
    expect(await store.runs.settle([told])).toMatchObject([{ kind: "ok", jobState: "queued" }]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ attempts: 1 });
    const last = await claimOne(store);
    expect(await store.runs.settle([retried(last)]), "not even started").toMatchObject([{ kind: "ok", jobState: "failed" }]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ attempts: 2 });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a spent budget holds the job where its stage says so, whoever ends the run and however, with one alert", async () => {
    const { store } = await withQueues(open);
    const hold = { policy: { onExhausted: "hold", delay: { baseMs: 0, maxMs: 0 } }, jitter: 0 } as const;
    const item = await addItem(store, "book", { maxAttempts: 2 });
    await store.jobs.enqueue({ queue: "t", maxAttempts: 1, jobs: [{}] });
    const [stage, task] = await claim(store);
    await startRun(store, present(stage));
    const first = [retried(present(stage), { retry: hold }), retried(present(task), { retry: hold })];
    expect(await store.runs.settle(first)).toMatchObject([{ jobState: "queued" }, { jobState: "held" }]);
    const again = await claimOne(store);
    await startRun(store, again);
    const lost = retried(again, { outcome: "lost", reason: "dead_pid", retry: hold });
    expect(await store.runs.settle([lost])).toMatchObject([{ kind: "ok", outcome: "lost", jobState: "held" }]);
    expect(await store.jobs.get(again.jobId)).toMatchObject({ state: "held", attempts: 2, finishedAt: null });
    expect(await store.items.get(item.id)).toMatchObject({ state: "active" });
    const alerts = (await store.outbox.due(10)).filter(({ kind }) => kind === "alert").map(({ key }) => key);
    expect(alerts).toEqual([`job.held:${present(task).jobId}:${present(task).runId}`, `job.held:${again.jobId}:${again.runId}`]);
    expect(await store.jobs.unhold(again.jobId, { actor: "ana", force: false })).toBe(true);
    const extra = await claimOne(store);
    await startRun(store, extra);
    expect(await store.runs.settle([retried(extra, { retry: hold })]), "unheld: one more attempt").toMatchObject([{ jobState: "held" }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a retry later is scheduled, and comes back at its time", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const run = await claimOne(store);
    const runAt = addMs(store.now(), 5000);
    await store.runs.settle([retried(run, { retry: later(5000) })]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "scheduled", runAt });
    expect(await claim(store)).toEqual([]);
    clock.advance(5000);
    expect(await store.jobs.promoteDue(10)).toMatchObject({ moved: 1 });
    expect(await claim(store)).toHaveLength(1);
  });

  test("what a run spends: an attempt, a loss, or nothing", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", maxAttempts: 3, maxLosses: 3, jobs: [{}, {}, {}] });
    const [attempt, loss, nothing] = await claim(store);
    await store.runs.settle([
      retried(present(attempt)),
      retried(present(loss), { outcome: "lost", reason: "dead_pid" }),
      retried(present(nothing), { outcome: "released", reason: "drain" }),
    ]);
    expect(await store.jobs.get(present(attempt).jobId)).toMatchObject({ attempts: 1, losses: 0 });
    expect(await store.jobs.get(present(loss).jobId)).toMatchObject({ attempts: 0, losses: 1 });
    expect(await store.jobs.get(present(nothing).jobId)).toMatchObject({ attempts: 0, losses: 0 });
    expect(await store.runs.get(present(loss).runId)).toMatchObject({ outcome: "lost", spent: "loss" });
  });

  test("a reserved run that is handed back has spent nothing", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}] });
    const run = await claimOne(store);
    await store.runs.settle([retried(run, { outcome: "released", reason: "shutdown" })]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "queued", attempts: 0, runCount: 1 });
    expect((await store.runs.get(run.runId))?.startedAt).toBeNull();
  });

  test("a stage's budget is its visit's: each retry spends from it, and its end fails the item [B-34] [B-35]", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store, "book", { maxAttempts: 2 });
    for (const [attempts, state] of [
      [1, "active"],
      [2, "failed"],
    ] as const) {
      const run = await claimOne(store);
      await startRun(store, run);
      await store.runs.settle([retried(run)]);
      expect((await store.items.visits(item.id))[0]).toMatchObject({ attempts });
      expect(await store.jobs.get(run.jobId)).toMatchObject({ attempts });
      expect((await store.items.get(item.id))?.state).toBe(state);
    }
    expect((await store.outbox.due(10)).filter((entry) => entry.kind === "alert")).toHaveLength(1);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
