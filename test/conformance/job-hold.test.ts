import { expect, test } from "vitest";
import { asJobId, type JobId } from "../../src/domain/ids.ts";
import type { HoldAnswer } from "../../src/store/port/jobs.ts";
import type { Store } from "../../src/store/port/store.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  failure,
  farFuture,
  later,
  onlyJobOf,
  retried,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores, type OpenTestStore, type TestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore): Promise<TestStore> {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

const message = "stage prep of pipeline p is not declared any more";
const hold = async (store: Store, id: JobId): Promise<HoldAnswer> =>
  await store.jobs.hold(id, { actor: "reconciler", reason: "stage_undeclared", message });
const alerts = async (store: Store): Promise<readonly { readonly key: string; readonly revision: number; readonly payload: string }[]> =>
  (await store.outbox.due(1000)).filter((entry) => entry.kind === "alert");
/** Delivers what is due, so that a later entry is seen to be new. */
const deliverAll = async (store: Store): Promise<void> => {
  for (const entry of await store.outbox.due(1000)) await store.outbox.done(entry);
};

describeStores((open) => {
  test("holding a queued job keeps it for a person: out of every claim, with one alert, its story and its state file in the same commit", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const id = await onlyJobOf(store, item.id);
    await deliverAll(store);
    expect(await hold(store, id)).toEqual({ kind: "held" });
    expect(await store.jobs.get(id)).toMatchObject({ state: "held", error: message, attempts: 0, finishedAt: null, blockedBy: null });
    expect(await claim(store)).toEqual([]);
    const due = await store.outbox.due(10);
    expect(due.map(({ kind, key }) => `${kind} ${key}`).toSorted()).toEqual([`alert job.held:${id}:waiting`, `state-file ${item.id}`]);
    expect(JSON.parse((await alerts(store))[0]?.payload ?? "{}")).toMatchObject({
      event: "job.held",
      jobId: id,
      runId: null,
      queue: "p/prep",
      itemId: item.id,
      reason: "stage_undeclared",
      message,
    });
    expect((await store.actions.list({ jobId: id, limit: 10 })).filter(({ action }) => action === "job.held")).toMatchObject([
      { actor: "reconciler", reason: "stage_undeclared", message, itemId: item.id, runId: null },
    ]);
    expect(await store.items.get(item.id)).toMatchObject({ state: "active", stage: "prep" });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a job that backs off is held alike, and its alert names its newest run", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([retried(run, { retry: later(60_000) })]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "scheduled" });
    await deliverAll(store);
    expect(await hold(store, run.jobId)).toEqual({ kind: "held" });
    expect((await alerts(store)).map(({ key }) => key)).toEqual([`job.held:${run.jobId}:${run.runId}`]);
    expect(await store.jobs.promoteDue(10)).toMatchObject({ moved: 0, nextDueAt: undefined });
    expect(await store.items.visits(item.id)).toMatchObject([{ state: "open", attempts: 1 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("holding it again changes nothing, says so, and tells nobody twice", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const id = await onlyJobOf(store, item.id);
    await hold(store, id);
    const before = await store.jobs.get(id);
    await deliverAll(store);
    expect(await hold(store, id)).toEqual({ kind: "already" });
    expect(await store.jobs.get(id)).toEqual(before);
    expect(await store.outbox.due(10)).toEqual([]);
    expect((await store.actions.list({ jobId: id, limit: 10 })).filter(({ action }) => action === "job.held")).toHaveLength(1);
  });

  test("of two that hold one job at once, one wins and one alert is raised", async () => {
    const { store } = await withQueues(open);
    const id = await onlyJobOf(store, (await addItem(store)).id);
    const answers = await Promise.all([hold(store, id), hold(store, id), hold(store, id)]);
    expect(answers.map(({ kind }) => kind).toSorted()).toEqual(["already", "already", "held"]);
    expect(await alerts(store)).toMatchObject([{ revision: 1 }]);
  });

  test("unhold makes it claimable again with one attempt more, and it can be held once more, with a new alert", async () => {
    const { store } = await withQueues(open);
    const id = await onlyJobOf(store, (await addItem(store)).id);
    await hold(store, id);
    await deliverAll(store);
    expect(await store.jobs.unhold(id, { actor: "ana", force: false })).toBe(true);
    expect(await store.jobs.get(id)).toMatchObject({ state: "queued", maxAttempts: 4 });
    expect(await hold(store, id)).toEqual({ kind: "held" });
    expect(await alerts(store)).toHaveLength(1);
    await store.jobs.unhold(id, { actor: "ana", force: false });
    const run = await claimOne(store);
    expect(run.jobId).toBe(id);
    await startRun(store, run);
    await store.runs.settle([success(run)]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a running, done, failed or cancelled job is never held, nor a task outside pipelines, nor one that is not there", async () => {
    const { store } = await withQueues(open);
    await addItem(store);
    const run = await claimOne(store);
    const untouched = async (id: JobId, why: string): Promise<void> => {
      const before = await store.jobs.get(id);
      await deliverAll(store);
      expect(await hold(store, id)).toEqual({ kind: "refused", why: expect.stringContaining(why) });
      expect(await store.jobs.get(id)).toEqual(before);
      expect(await store.outbox.due(10)).toEqual([]);
    };
    await untouched(run.jobId, "is running");
    await startRun(store, run);
    await untouched(run.jobId, "is running");
    await store.runs.settle([success(run)]);
    await untouched(run.jobId, "is done");
    await addItem(store, "second");
    const failed = await claimOne(store);
    await startRun(store, failed);
    await store.runs.settle([failure(failed)]);
    await untouched(failed.jobId, "is failed");
    const cancelled = await onlyJobOf(store, (await addItem(store, "third")).id);
    await store.jobs.cancel(cancelled, { actor: "ana", reason: "not needed", stopBy: farFuture });
    await untouched(cancelled, "is cancelled");
    for (const delayMs of [0, 60_000]) {
      const [task] = await store.jobs.enqueue({ queue: "t", delayMs, jobs: [{}] });
      await untouched(task ?? asJobId(0), "belongs to no item");
    }
    expect(await hold(store, asJobId(999_999))).toEqual({ kind: "refused", why: "there is no job 999999" });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("holding a blocked job gives back neither its slot nor its block: only the proof that its run has stopped does", async () => {
    const { store } = await withQueues(open);
    await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    const lease = {
      name: "merge",
      ticket: "t1",
      holder: { kind: "run", runId: run.runId },
      ttlMs: 1000,
      maxHoldMs: 10_000,
      timeoutAt: farFuture,
    } as const;
    await store.leases.acquire(lease);
    await store.runs.settle([retried(run, { outcome: "lost", stopBy: farFuture })]);
    expect(await hold(store, run.jobId)).toEqual({ kind: "held" });
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "held", blockedBy: run.runId, stopBy: farFuture });
    expect(await store.upkeep.slots()).toMatchObject([{ key: "p.prep", used: 1 }]);
    expect(await store.leases.list({ limit: 10 })).toMatchObject([{ name: "merge", state: "held" }]);
    await store.jobs.unhold(run.jobId, { actor: "ana", force: false });
    expect(await claim(store)).toEqual([]);
    await hold(store, run.jobId);
    await store.runs.clearBlocks([{ jobId: run.jobId, runId: run.runId, proof: "pid_gone", actor: "stopper" }]);
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "held", blockedBy: null });
    expect(await store.upkeep.slots()).toMatchObject([{ key: "p.prep", used: 0 }]);
    await store.jobs.unhold(run.jobId, { actor: "ana", force: false });
    expect(await claim(store)).toMatchObject([{ jobId: run.jobId }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a hold that dies half-way leaves neither the flip nor an alert nor a line of the story", async () => {
    const { store, query } = await withQueues(open);
    const id = await onlyJobOf(store, (await addItem(store)).id);
    await deliverAll(store);
    const before = await store.jobs.get(id);
    // The action log is written last: an invalid actor fails it after the flip and the alert are written.
    await expect(store.jobs.hold(id, { actor: null as unknown as string, reason: "stage_undeclared", message })).rejects.toThrow("actor");
    expect(await store.jobs.get(id)).toEqual(before);
    expect(await store.outbox.due(10)).toEqual([]);
    expect(await query("select * from action_logs where action = 'job.held'")).toEqual([]);
    expect(await hold(store, id)).toEqual({ kind: "held" });
  });

  test("the jobs that wait for a stage are listed by pages: queued, scheduled, blocked and paused, of no other stage, and no task", async () => {
    const { store } = await withQueues(open);
    const stages = [{ pipeline: "p", stage: "prep" }];
    const items = [];
    for (const key of ["a", "b", "c", "d", "e"]) items.push(await addItem(store, key));
    const scheduled = await claimOne(store);
    const blocked = await claimOne(store);
    for (const run of [scheduled, blocked]) await startRun(store, run);
    await store.runs.settle([retried(scheduled, { retry: later(60_000) })]);
    await store.runs.settle([retried(blocked, { stopBy: farFuture })]);
    await store.items.setPaused(items[2]?.id ?? (0 as never), { paused: true, actor: "ana" });
    const taken = await claimOne(store);
    expect(taken.itemId).toBe(items[3]?.id);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    await addItem(store, "elsewhere", { stage: "ocr", queue: "p/ocr" });
    const listed: number[] = [];
    let after: (typeof items)[number]["id"] | undefined;
    for (;;) {
      const page = await store.jobs.listWaiting({ stages, limit: 2, after });
      listed.push(...page.map(({ itemId }) => itemId));
      after = page.at(-1)?.itemId;
      if (page.length < 2) break;
    }
    expect(listed).toEqual([items[0], items[1], items[2], items[4]].map((item) => item?.id));
    expect(await store.jobs.listWaiting({ stages: [], limit: 10 })).toEqual([]);
    expect(await store.jobs.listWaiting({ stages: [{ pipeline: "q", stage: "prep" }], limit: 10 })).toEqual([]);
    const both = await store.jobs.listWaiting({ stages: [...stages, { pipeline: "p", stage: "ocr" }], limit: 10 });
    expect(both.at(-1)).toMatchObject({ pipeline: "p", stage: "ocr" });
    expect(await store.jobs.listQueues()).toEqual(["p/ocr", "p/prep", "t"]);
  });
});
