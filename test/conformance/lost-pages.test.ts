import { expect, test } from "vitest";
import type { WorkerId } from "../../src/domain/ids.ts";
import { runTaskName } from "../../src/domain/run-task.ts";
import { addMs } from "../../src/domain/time.ts";
import type { Failure, LossProgress } from "../../src/store/port/runs.ts";
import { present } from "../support/present.ts";
import { addItem, claim, claimOne, declareQueues, registerWorker, retried, stageEntry, startRun, success } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

/** A dead session's page; delays without jitter. */
const page = (workerIds: readonly WorkerId[], limit = 500, event?: LossProgress) => ({
  workerIds,
  limit,
  reason: "dead_pid",
  actor: "worker-reaper",
  recoverySpreadMs: 10_000,
  random: () => 0,
  event,
});

describeStores((open) => {
  test("a dead session's runs go back by their jobs' own counters: retried, failed, held, or unspent", async () => {
    const { store } = await withQueues(open);
    const group = async (maxAttempts: number, maxLosses?: number) =>
      await store.jobs.enqueue({ queue: "t", maxAttempts, maxLosses, jobs: [{}] });
    const [retried] = await group(2);
    const [failed] = await group(1);
    const [lost] = await group(1, 2);
    const [held] = await group(1, 1);
    const workerId = await registerWorker(store);
    const [reserved] = await store.jobs.enqueue({ queue: "p/ocr", priority: 9, jobs: [{}] });
    const runs = await claim(store, { workerId });
    expect(runs).toHaveLength(5);
    expect(await store.runs.settleLostPage(page([workerId]))).toMatchObject({ settled: 5, more: false });
    expect(await store.jobs.get(present(retried))).toMatchObject({ state: "queued", attempts: 1, losses: 0 });
    expect(await store.jobs.get(present(failed))).toMatchObject({ state: "failed", attempts: 1 });
    expect(await store.jobs.get(present(lost))).toMatchObject({ state: "queued", attempts: 0, losses: 1 });
    expect(await store.jobs.get(present(held))).toMatchObject({ state: "held", attempts: 0, losses: 1 });
    expect(await store.jobs.get(present(reserved))).toMatchObject({ state: "queued", attempts: 0, losses: 0 });
    expect((await store.outbox.due(10)).map((entry) => entry.key).sort()).toEqual(
      [`job.failed:${failed}:${present(runs[1]).runId}`, `job.held:${held}:${present(runs[3]).runId}`].sort(),
    );
    for (const run of runs) {
      const outcome = run.jobId === reserved ? "never_started" : "lost";
      expect(await store.runs.get(run.runId)).toMatchObject({ state: "ended", outcome, reason: "dead_pid" });
      expect(await store.actions.list({ jobId: run.jobId, limit: 5 })).toMatchObject([
        { action: "run.ended", actor: "worker-reaper", runId: run.runId },
      ]);
    }
    expect(await store.runs.settleLostPage(page([workerId]))).toMatchObject({ settled: 0, more: false });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("items, started commands and recorded exits are left to be judged singly", async () => {
    const { store } = await withQueues(open);
    await addItem(store);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}] });
    const workerId = await registerWorker(store);
    const runs = await claim(store, { workerId });
    await startRun(store, present(runs.find((run) => run.queue === "p/ocr")));
    expect(await store.runs.settleLostPage(page([workerId]))).toMatchObject({ settled: 0, more: false });
    expect(await store.runs.listOfWorkers({ workerIds: [workerId], limit: 10 })).toHaveLength(2);
  });

  test("items' runs that a session took first hide none of the plain ones behind them from a page", async () => {
    const { store } = await withQueues(open);
    const workerId = await registerWorker(store);
    for (const key of ["a", "b", "c", "d"]) await addItem(store, key, stageEntry("ocr"));
    expect(await claim(store, { workerId, queues: ["p/ocr"] })).toHaveLength(4);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    expect(await claim(store, { workerId, queues: ["t"] })).toHaveLength(2);
    const first = await store.runs.settleLostPage(page([workerId], 1));
    expect(first).toMatchObject({ settled: 1, more: true, event: { index: 1, total: 2 } });
    const second = await store.runs.settleLostPage(page([workerId], 1, first.event));
    expect(second).toMatchObject({ settled: 1, more: false, event: { index: 2, total: 2 } });
  });

  test("a large event is settled a page at a time and its jobs come back over the spread, a small one at once", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 230 }, () => ({})) });
    const workerId = await registerWorker(store);
    expect(await claim(store, { workerId, max: 230 })).toHaveLength(230);
    const from = store.now();
    const first = await store.runs.settleLostPage(page([workerId], 100));
    expect(first).toMatchObject({ settled: 100, more: true, event: { index: 100, total: 230 } });
    expect(await store.upkeep.listJobs({ states: ["queued"], limit: 500 }), "the first hundred come back at once").toHaveLength(100);
    expect(first.ended, "and each is reported").toHaveLength(100);
    expect(first.ended[0]).toMatchObject({
      queue: "t",
      workerId,
      agent: null,
      outcome: "lost",
      jobState: "queued",
      reason: "dead_pid",
    });
    const second = await store.runs.settleLostPage(page([workerId], 100, first.event));
    expect(second).toMatchObject({ settled: 100, more: true, event: { index: 200, total: 230 } });
    const third = await store.runs.settleLostPage(page([workerId], 100, second.event));
    expect(third).toMatchObject({ settled: 30, more: false, event: { index: 230, total: 230 } });
    const later = (await store.upkeep.listJobs({ states: ["scheduled"], limit: 500 })).map((job) => job.runAt - from);
    expect(new Set(later).size, "each at a time of its own").toBe(130);
    expect(Math.min(...later)).toBe(Math.round(10_000 / 130));
    expect(Math.max(...later)).toBe(10_000);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a lost foreground run is cancelled: nobody else would start its command", async () => {
    const { store } = await withQueues(open);
    await store.jobs.ensureQueues([{ name: runTaskName, kind: "command" }]);
    const [id] = await store.jobs.enqueue({ queue: runTaskName, maxAttempts: 1, jobs: [{}] });
    const workerId = await registerWorker(store);
    await claim(store, { workerId, queues: [runTaskName] });
    expect(await store.runs.settleLostPage(page([workerId]))).toMatchObject({ settled: 1 });
    expect(await store.jobs.get(present(id))).toMatchObject({ state: "cancelled", attempts: 0 });
  });

  test("only never-started ends by the death of a session count, whatever their reason, and a release between them is passed over", async () => {
    const { store, clock } = await withQueues(open);
    const [id] = await store.jobs.enqueue({ queue: "p/ocr", maxAttempts: 9, jobs: [{}] });
    const workerId = await registerWorker(store);
    const never = { outcome: "never_started" } as const;
    const end = async (overrides: Partial<Failure>) => {
      const run = await claimOne(store, { workerId, queues: ["p/ocr"] });
      await store.runs.settle([retried(run, overrides)]);
      return await store.runs.get(run.runId);
    };
    // Lost claims spend nothing, however many.
    for (let lostClaims = 0; lostClaims < 4; lostClaims += 1)
      expect(await end({ ...never, reason: "not_held" })).toMatchObject({ bySessionDeath: false });
    expect(await end({ ...never, reason: "not_named", bySessionDeath: true })).toMatchObject({ bySessionDeath: true });
    await end({ ...never, outcome: "released", reason: "shutdown" });
    expect(await end({ ...never, reason: "not_named", bySessionDeath: true })).toMatchObject({ bySessionDeath: true });
    const loseOne = async () => {
      expect(await claim(store, { workerId, queues: ["p/ocr"] })).toHaveLength(1);
      await store.runs.settleLostPage(page([workerId]));
      const { runAt, attempts } = present(await store.jobs.get(present(id)));
      clock.advance(Math.max(0, runAt - store.now()));
      await store.jobs.promoteDue(10);
      return attempts;
    };
    expect(await loseOne(), "the third").toBe(0);
    expect(await loseOne(), "the fourth").toBe(1);
    expect(await end({ ...never, outcome: "failed", reason: "exit_code" })).toMatchObject({ spent: "attempt" });
    expect(await loseOne(), "the first after another end").toBe(2);
  });

  test("a job lost twice within a minute waits; after three never-started ends in a row each further one spends", async () => {
    const { store, clock } = await withQueues(open);
    const [quick] = await store.jobs.enqueue({ queue: "t", maxAttempts: 9, jobs: [{}] });
    const workerId = await registerWorker(store);
    const lose = async () => await store.runs.settleLostPage(page([workerId]));
    await claim(store, { workerId });
    await lose();
    expect(await store.jobs.get(present(quick))).toMatchObject({ state: "queued" });
    clock.advance(1_000);
    await claim(store, { workerId });
    await lose();
    // Half of the first delay, because the jitter is 0.
    expect(await store.jobs.get(present(quick))).toMatchObject({ state: "scheduled", attempts: 2, runAt: addMs(store.now(), 500) });
    const [unlucky] = await store.jobs.enqueue({ queue: "p/ocr", maxAttempts: 9, jobs: [{}] });
    for (const attempts of [0, 0, 0, 1, 2]) {
      expect(await claim(store, { workerId, queues: ["p/ocr"] })).toHaveLength(1);
      await lose();
      const { attempts: spent, runAt } = present(await store.jobs.get(present(unlucky)));
      expect(spent).toBe(attempts);
      clock.advance(Math.max(0, runAt - store.now()));
      await store.jobs.promoteDue(10);
    }
  });

  test("startup requeue, a late settle and the page again, in any order, process each row once [B-64] [B-65]", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 40 }, () => ({})) });
    const workerId = await registerWorker(store);
    const runs = await claim(store, { workerId, max: 40 });
    const [first, , second, late] = await Promise.all([
      store.runs.settleLostPage(page([workerId])),
      Promise.resolve(),
      store.runs.settleLostPage(page([workerId])),
      store.runs.settle(runs.map((run) => ({ ...success(run), exitCode: 0 }))),
    ]);
    const won = late.filter((answer) => answer.kind === "ok").length;
    // A page skips what another is settling; nothing is left when all have finished.
    const rest = await store.runs.settleLostPage(page([workerId]));
    expect(first.settled + second.settled + rest.settled + won).toBe(40);
    expect(await store.runs.listAllLive({ limit: 100 })).toEqual([]);
    expect(await store.runs.settleLostPage(page([workerId]))).toMatchObject({ settled: 0, more: false });
    const counts = await store.upkeep.counts();
    expect(counts.find((row) => row.queue === "t")?.states.queued ?? 0).toBe(40 - won);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
