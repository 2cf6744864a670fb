import { expect, test } from "vitest";
import { asOwnerEpoch } from "../../src/domain/ids.ts";
import { runTaskName } from "../../src/domain/run-task.ts";
import { addMs } from "../../src/domain/time.ts";
import type { ClaimedRun, Success } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import { present } from "../support/present.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  failure,
  farFuture,
  onlyJobOf,
  processOn,
  registerWorker,
  retried,
  stageEntry,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

/** A handler's success without any optional member. */
function plain(run: ClaimedRun, overrides: Partial<Success> = {}): Success {
  const { runId, ownerEpoch, jobId } = run;
  return {
    runId,
    ownerEpoch,
    jobId,
    outcome: "succeeded",
    reason: "handler_returned",
    ...overrides,
  };
}

const enqueue = async (store: Store, count: number, options: { readonly maxAttempts?: number; readonly maxLosses?: number } = {}) =>
  await store.jobs.enqueue({ queue: "t", ...options, jobs: Array.from({ length: count }, () => ({})) });

const lateResults = async (store: Store, run: ClaimedRun) =>
  (await store.actions.list({ runId: run.runId, limit: 50 })).filter((row) => row.action === "run.late_result");

describeStores((open) => {
  test("a plain success ends job and run, and needs no explaining", async () => {
    const { store, clock } = await withQueues(open);
    await enqueue(store, 1);
    const run = await claimOne(store);
    clock.advance(5);
    expect(await store.runs.settle([plain(run, { output: '{"n":"\\"1"}' })])).toMatchObject([{ kind: "ok" }]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({
      state: "done",
      finishedAt: store.now(),
      attempts: 1,
      currentRunId: null,
      output: '{"n":"\\"1"}',
      error: null,
    });
    expect(await store.runs.get(run.runId)).toMatchObject({
      state: "ended",
      outcome: "succeeded",
      reason: "handler_returned",
      endedAt: store.now(),
      spent: "attempt",
    });
    expect(await store.actions.list({ jobId: run.jobId, limit: 10 })).toEqual([]);
  });

  test("a failed `wakeful run` alerts nobody: its caller saw the exit code", async () => {
    const { store } = await withQueues(open);
    await store.jobs.ensureQueues([{ name: runTaskName, kind: "command" }]);
    await store.jobs.enqueue({ queue: runTaskName, maxAttempts: 1, jobs: [{}, {}] });
    await store.jobs.enqueue({ queue: "t", maxAttempts: 1, jobs: [{}] });
    const [failed, held] = await claim(store, { queues: [runTaskName] });
    const other = await claimOne(store);
    for (const run of [present(failed), present(held), other]) await startRun(store, run);
    await store.runs.settle([failure(present(failed)), failure(present(held), { disposition: "hold" }), failure(other)]);
    expect(await store.jobs.get(present(failed).jobId)).toMatchObject({ state: "failed", error: expect.stringContaining("exit code 1") });
    expect(await store.jobs.get(present(held).jobId)).toMatchObject({ state: "held" });
    const alerts = (await store.outbox.due(10)).filter((entry) => entry.kind === "alert");
    expect(alerts.map(({ key }) => key)).toEqual([`job.failed:${other.jobId}:${other.runId}`]);
  });

  test("the start of a reserved run is folded into its end, and counts its attempt once", async () => {
    const { store, clock } = await withQueues(open);
    await enqueue(store, 3);
    const workerId = await registerWorker(store);
    const runs = await store.runs.claim({
      claimId: "c",
      workerId,
      claimSeq: 1,
      queues: [{ name: "t", limits: { maxRunningMs: 1e9 } }],
      max: 3,
      startNow: 1,
    });
    const startedAt = clock.advance(10);
    await store.runs.start([
      {
        runId: present(runs[1]).runId,
        ownerEpoch: present(runs[1]).ownerEpoch,
        startedAt,
        limits: { maxRunningMs: 1e9 },
        checkAt: farFuture,
      },
    ]);
    const folded = addMs(startedAt, 3);
    clock.advance(20);
    expect(await store.runs.settle(runs.map((run) => plain(run, { startedAt: folded })))).toMatchObject([
      { kind: "ok" },
      { kind: "ok" },
      { kind: "ok" },
    ]);
    const starts = await Promise.all(runs.map(async (run) => (await store.runs.get(run.runId))?.startedAt));
    expect(starts).toEqual([addMs(startedAt, -10), startedAt, folded]);
    for (const run of runs) expect((await store.jobs.get(run.jobId))?.attempts).toBe(1);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a stale run is noticed alone in its batch: the others are settled, it changes nothing but the record of its late result [B-G1] [B-49]", async () => {
    const { store } = await withQueues(open);
    await enqueue(store, 20);
    const runs = await claim(store, { max: 20 });
    const stale = present(runs[7]);
    await store.runs.settle([retried(stale, { exitCode: 1 })]);
    const second = await claimOne(store);
    expect(second.jobId).toBe(stale.jobId);
    const answers = await store.runs.settle(runs.map((run) => plain(run, run === stale ? { output: '"late"' } : {})));
    expect(answers.filter((answer) => answer.kind === "ok")).toHaveLength(19);
    expect(answers[7]).toMatchObject({ kind: "lost", now: { ownerEpoch: 1, state: "ended" } });
    expect(await store.jobs.get(stale.jobId)).toMatchObject({ state: "running", currentRunId: second.runId, output: null });
    expect(await store.runs.get(stale.runId)).toMatchObject({ outcome: "failed", exitCode: 1 });
    expect(await lateResults(store, stale)).toHaveLength(1);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("of two runs of one job in a batch the live one ends it, and of two jobs each is ended by its own run alone", async () => {
    const { store } = await withQueues(open);
    await enqueue(store, 3);
    const [stale, a, b] = await claim(store, { max: 3 });
    await store.runs.settle([retried(present(stale))]);
    const second = await claimOne(store);
    const swapped = [
      { ...plain(present(a)), jobId: present(b).jobId },
      { ...plain(present(b)), jobId: present(a).jobId },
    ];
    const answers = await store.runs.settle([plain(present(stale)), plain(second), ...swapped]);
    expect(answers.map((answer) => answer.kind)).toEqual(["lost", "ok", "lost", "lost"]);
    expect(await store.runs.settle([plain(second), plain(present(a)), plain(present(b))])).toMatchObject([
      { kind: "already" },
      { kind: "ok" },
      { kind: "ok" },
    ]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a settle asked again answers already, and its late result is kept once however often it is tried", async () => {
    const { store } = await withQueues(open);
    await enqueue(store, 1);
    const run = await claimOne(store);
    const twice = await store.runs.settle([plain(run), plain(run)]);
    expect(twice.map((answer) => answer.kind).sort()).toEqual(["already", "ok"]);
    expect(await store.runs.settle([plain(run)])).toEqual([{ kind: "already" }]);
    for (let time = 0; time < 3; time += 1) {
      expect(await store.runs.settle([retried(run)])).toMatchObject([{ kind: "lost" }]);
    }
    expect(await lateResults(store, run)).toHaveLength(1);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "done", error: null });
  });

  test("a supervisor that was replaced can no longer settle, and is told who has the run", async () => {
    const { store } = await withQueues(open);
    await enqueue(store, 2);
    const [run, other] = await claim(store);
    const next = await registerWorker(store, "next");
    const epoch = await store.runs.takeOver({
      runId: present(run).runId,
      ownerEpoch: present(run).ownerEpoch,
      workerId: next,
      actor: "adoption",
      reason: "dead_pid",
      checkAt: farFuture,
    });
    expect(epoch).toBe(2);
    expect(await store.runs.settle([plain(present(run)), plain(present(other))])).toMatchObject([
      { kind: "lost", now: { ownerEpoch: 2, state: "started", workerId: next } },
      { kind: "ok" },
    ]);
    expect(await store.runs.settle([plain(present(run), { ownerEpoch: asOwnerEpoch(2) })])).toMatchObject([{ kind: "ok" }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a run that never was answers gone", async () => {
    const { store } = await withQueues(open);
    await enqueue(store, 1);
    const run = await claimOne(store);
    expect(await store.runs.settle([plain({ ...run, runId: 987_654_321 as ClaimedRun["runId"] })])).toEqual([{ kind: "gone" }]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "running" });
  });

  test("of a settle and its rivals at the same moment exactly one writes [B-32] [B-65]", async () => {
    const { store, openAgain } = await withQueues(open);
    await enqueue(store, 30);
    const runs = await claim(store, { max: 30 });
    const other = store.capabilities.manyWriters ? await openAgain() : store;
    const answers = await Promise.all(
      runs.flatMap((run) => [
        store.runs.settle([plain(run)]),
        other.runs.settle([retried(run)]),
        store.runs.settle([retried(run, { outcome: "lost", reason: "dead_pid", actor: "job-reaper" })]),
      ]),
    );
    for (let index = 0; index < runs.length; index += 1) {
      const kinds = answers.slice(index * 3, index * 3 + 3).map(([answer]) => answer?.kind);
      expect(kinds.filter((kind) => kind === "ok")).toHaveLength(1);
      expect(kinds.filter((kind) => kind === "lost")).toHaveLength(2);
    }
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a failure names its reason and run, is explained once, and alerts once when it is final [B-38] [B-39]", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", agent: "developer", repo: "shop", maxAttempts: 1, jobs: [{}] });
    const run = await claimOne(store);
    await store.runs.settle([failure(run, { message: "exit code 3", exitCode: 3, evidence: '{"pid":7}', actor: "job-reaper" })]);
    expect((await store.jobs.get(run.jobId))?.error).toBe(`exit code 3 (run ${run.runId})`);
    expect(await store.actions.list({ jobId: run.jobId, limit: 10 })).toMatchObject([
      { action: "run.ended", actor: "job-reaper", reason: "exit_code", message: "exit code 3", evidence: '{"pid":7}', runId: run.runId },
    ]);
    const [alert, ...others] = (await store.outbox.due(10)).filter((entry) => entry.kind === "alert");
    expect(others).toEqual([]);
    expect(JSON.parse(alert?.payload ?? "{}")).toMatchObject({
      event: "job.failed",
      jobId: run.jobId,
      runId: run.runId,
      agent: "developer",
      repo: "shop",
      reason: "exit_code",
    });
    await store.runs.settle([failure(run)]);
    expect((await store.outbox.due(10)).filter((entry) => entry.kind === "alert")).toHaveLength(1);
  });

  test("no exit code but 0 yields done, given or on record, and none is invented [B-40]", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}, {}] });
    await enqueue(store, 1);
    const runs = await claim(store);
    for (const run of runs) await startRun(store, run);
    const [a, b, c] = runs;
    expect(await store.runs.settle([success(present(a), { exitCode: 1 })])).toMatchObject([
      { kind: "failed", error: { code: "bad_request" } },
    ]);
    expect(await store.runs.settle([plain(present(a), { exitCode: 1 })])).toMatchObject([
      { kind: "failed", error: { code: "bad_request" } },
    ]);
    await store.runs.recordExit({ runId: present(b).runId, ownerEpoch: present(b).ownerEpoch, exitCode: 9, checkAt: farFuture });
    expect(await store.runs.settle([plain(present(b))])).toMatchObject([{ kind: "failed", error: { code: "bad_request" } }]);
    expect(await store.runs.settle([success(present(b))])).toMatchObject([{ kind: "failed", error: { code: "bad_request" } }]);
    for (const run of runs) expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "running" });
    // A refused settlement does not affect the others of its turn.
    const settled = await Promise.all([store.runs.settle([success(present(a), { exitCode: 1 })]), store.runs.settle([plain(present(c))])]);
    expect(settled).toMatchObject([[{ kind: "failed" }], [{ kind: "ok" }]]);
    expect((await store.runs.get(present(c).runId))?.exitCode).toBeNull();
  });

  test("a held job raises one alert and is not claimable", async () => {
    const { store } = await withQueues(open);
    await enqueue(store, 1);
    const run = await claimOne(store);
    await store.runs.settle([failure(run, { disposition: "hold" })]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "held", finishedAt: null });
    expect((await store.outbox.due(10)).map((entry) => entry.key)).toEqual([`job.held:${run.jobId}:${run.runId}`]);
    expect(await claim(store)).toEqual([]);
  });

  test("while its process must still be stopped the job is queued and blocked and its slot stays taken; the proof frees both [B-28]", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/prep", jobs: [{}] });
    const run = await claimOne(store);
    await startRun(store, run);
    const stopBy = addMs(store.now(), 10_000);
    await store.runs.settle([retried(run, { outcome: "hung", reason: "heartbeat", stopBy })]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "queued", blockedBy: run.runId, stopBy });
    expect(await store.upkeep.slots()).toMatchObject([{ used: 1 }]);
    expect(await claim(store)).toEqual([]);
    expect(await store.runs.listBlocked({ limit: 10 })).toMatchObject([
      { jobId: run.jobId, stopBy, run: { id: run.runId, process: processOn() } },
    ]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    const block = { jobId: run.jobId, runId: run.runId, proof: "pid_gone", actor: "stopper" };
    expect(await store.runs.clearBlocks([block])).toEqual([true]);
    expect(await store.runs.clearBlocks([block])).toEqual([false]);
    expect(await store.upkeep.slots()).toMatchObject([{ used: 0 }]);
    expect(await store.actions.list({ runId: run.runId, limit: 10 })).toMatchObject([
      { action: "run.stopped", actor: "stopper", reason: "pid_gone" },
      { action: "run.ended" },
    ]);
    expect(await claim(store)).toHaveLength(1);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("an item advances once with its run's end, whoever settles at once [B-48] [B-65]", async () => {
    const { store, openAgain } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    const other = store.capabilities.manyWriters ? await openAgain() : store;
    const settlement = success(run, { advance: stageEntry("ocr"), output: '{"pages":3}' });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => (index % 2 === 0 ? store : other).runs.settle([settlement])));
    const kinds = answers.map(([answer]) => answer?.kind);
    expect([kinds.filter((kind) => kind === "ok").length, kinds.filter((kind) => kind === "already").length]).toEqual([1, 7]);
    expect(await store.items.get(item.id)).toMatchObject({ stage: "ocr", state: "active" });
    expect(await store.items.visits(item.id)).toMatchObject([
      { stage: "prep", state: "passed", output: '{"pages":3}' },
      { stage: "ocr", state: "open" },
    ]);
    await onlyJobOf(store, item.id);
    expect(await store.upkeep.slots()).toMatchObject([{ used: 0 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("an advance that throws leaves nothing done, and the other members of its transaction are [B-48] [B-G3]", async () => {
    const { store } = await withQueues(open);
    const [bad, good] = [await addItem(store, "bad"), await addItem(store, "good")];
    const runs = await claim(store);
    for (const run of runs) await startRun(store, run);
    const of = (itemId: number): ClaimedRun => present(runs.find((run) => run.itemId === itemId));
    const settled = await store.runs.settle([
      success(of(bad.id), { advance: stageEntry("nowhere") }),
      success(of(good.id), { advance: { kind: "finish" } }),
    ]);
    expect(settled).toMatchObject([
      { kind: "failed", error: { code: "not_found" } },
      { kind: "ok", item: { kind: "finished" } },
    ]);
    expect(await store.items.get(good.id)).toMatchObject({ state: "done" });
    expect(await store.items.get(bad.id)).toMatchObject({ state: "active", stage: "prep" });
    expect(await store.jobs.get(of(bad.id).jobId)).toMatchObject({ state: "running", currentRunId: of(bad.id).runId });
    expect(await store.runs.get(of(bad.id).runId)).toMatchObject({ state: "started", endedAt: null });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    expect(await store.runs.settle([success(of(bad.id), { advance: stageEntry("ocr") })])).toMatchObject([{ kind: "ok" }]);
  });

  test("a job whose item was paused while it ran goes back unclaimable", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.items.setPaused(item.id, { paused: true, actor: "ana" });
    await store.runs.settle([retried(run)]);
    expect(await claim(store)).toEqual([]);
    await store.items.setPaused(item.id, { paused: false, actor: "ana" });
    expect(await claim(store)).toHaveLength(1);
  });

  test("a job whose item is past the stage is done without moving it again [B-41]", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    expect(await store.runs.settle([success(run)])).toMatchObject([{ kind: "ok" }]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "done" });
    expect(await store.items.get(item.id)).toMatchObject({ stage: "prep", state: "active" });
  });

  test("a person's cancel of an item's run ends the item through the settle", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([failure(run, { outcome: "cancelled", reason: "cancelled" })]);
    expect(await store.items.get(item.id)).toMatchObject({ state: "cancelled" });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
