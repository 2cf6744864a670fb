import { expect, test } from "vitest";
import { minutes } from "../../src/domain/time.ts";
import { present } from "../support/present.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  failure,
  farFuture,
  onlyJobOf,
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

const person = { actor: "ana", reason: "not needed" };

describeStores((open) => {
  test("an item, its first visit and its first job appear together", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store, "book");
    expect(item).toMatchObject({ state: "active", stage: "prep", key: "book", dir: "book", pipelineVersion: "v1", finishedAt: null });
    expect(await store.items.visits(item.id)).toMatchObject([
      { id: item.visitId, number: 1, state: "open", counts: true, attempts: 0, maxAttempts: 3 },
    ]);
    expect(await store.items.jobs(item.id)).toMatchObject([
      { state: "queued", visitId: item.visitId, queue: "p/prep", attempts: 0, maxAttempts: 3, paused: false },
    ]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("adding the same key again answers the item that exists and queues nothing more", async () => {
    const { store } = await withQueues(open);
    const first = await addItem(store, "book");
    const again = await store.items.add({ pipeline: "p", key: "book", dir: "book", input: "{}", first: stageEntry("prep"), actor: "test" });
    expect(again).toEqual({ item: first, created: false });
    expect(await store.items.jobs(first.id)).toHaveLength(1);
  });

  test("two programs that add the same key at once make one item", async () => {
    const { store, openAgain } = await withQueues(open);
    // The embedded engine has one owner, so both are callers of one store there.
    const other = store.capabilities.manyWriters ? await openAgain() : store;
    const add = { pipeline: "p", key: "book", dir: "book", input: "{}", first: stageEntry("prep"), actor: "test" };
    const answers = await Promise.all([store.items.add(add), other.items.add(add), store.items.add(add), other.items.add(add)]);
    expect(answers.filter((answer) => answer.created)).toHaveLength(1);
    expect(new Set(answers.map((answer) => answer.item.id)).size).toBe(1);
  });

  test("a directory that another item has is refused, and nothing is left behind", async () => {
    const { store } = await withQueues(open);
    await addItem(store, "book");
    const taken = store.items.add({ pipeline: "other", key: "book", dir: "book", input: "{}", first: stageEntry("prep"), actor: "test" });
    await expect(taken).rejects.toMatchObject({ code: "conflict" });
    expect(await store.items.byKey("other", "book")).toBeUndefined();
  });

  test("a stage whose queue nobody declared is refused, and nothing is left behind", async () => {
    const { store } = await withQueues(open);
    const lost = store.items.add({ pipeline: "p", key: "x", dir: "x", input: "{}", first: stageEntry("nowhere"), actor: "test" });
    await expect(lost).rejects.toMatchObject({ code: "not_found", details: { queue: "p/nowhere" } });
    expect(await store.items.byKey("p", "x")).toBeUndefined();
  });

  test("each change of an item is in the outbox as one state file, newest wins", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    await store.items.setPaused(item.id, { paused: true, actor: "ana" });
    const due = await store.outbox.due(10);
    expect(due).toMatchObject([{ kind: "state-file", key: String(item.id), revision: 2 }]);
  });

  test("a paused item's job is not claimable until it is resumed", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    expect(await store.items.setPaused(item.id, { paused: true, actor: "ana" })).toBe(true);
    expect(await store.items.setPaused(item.id, { paused: true, actor: "ana" })).toBe(false);
    expect(await claim(store)).toEqual([]);
    expect(await store.items.setPaused(item.id, { paused: false, actor: "ana" })).toBe(true);
    expect(await claim(store)).toMatchObject([{ itemId: item.id }]);
  });

  test("a success moves the item into its next stage, in the settling transaction [B-48]", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    const settled = await store.runs.settle([
      success(run, { output: '{"pages":3}', advance: stageEntry("ocr", { pipelineVersion: "v2" }) }),
    ]);
    expect(settled).toMatchObject([{ kind: "ok", item: { kind: "advanced", itemId: item.id, from: "prep", to: "ocr" } }]);
    const moved = await store.items.get(item.id);
    expect(moved).toMatchObject({ state: "active", stage: "ocr", pipelineVersion: "v2" });
    expect(await store.items.visits(item.id)).toMatchObject([
      { stage: "prep", state: "passed", output: '{"pages":3}' },
      { id: moved?.visitId, stage: "ocr", state: "open", number: 2 },
    ]);
    expect(await store.items.jobs(item.id)).toMatchObject([{ state: "done" }, { state: "queued", queue: "p/ocr", attempts: 0 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("the last stage's success ends the item as done", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([success(run, { advance: { kind: "finish" } })]);
    expect(await store.items.get(item.id)).toMatchObject({ state: "done", error: null, finishedAt: store.now() });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a job that failed fails its visit and item, with exactly one alert that names the reason and the run [B-38] [B-39] [A-G5]", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    const ending = failure(run);
    await store.runs.settle([ending]);
    await store.runs.settle([ending]);
    const failed = await store.items.get(item.id);
    expect(failed?.state).toBe("failed");
    expect(failed?.error).toContain(`run ${run.runId}`);
    expect(await store.items.visits(item.id)).toMatchObject([{ state: "failed" }]);
    const alerts = (await store.outbox.due(10)).filter((row) => row.kind === "alert");
    expect(alerts).toHaveLength(1);
    expect(alerts[0]?.payload).toContain(String(run.jobId));
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("retry gives a failed item the same visit with a fresh budget", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([failure(run)]);
    const jobId = await store.items.retry(item.id, { entry: stageEntry("prep", { maxAttempts: 5 }), actor: "ana" });
    expect(await store.items.get(item.id)).toMatchObject({ state: "active", visitId: item.visitId, error: null, finishedAt: null });
    expect(await store.items.visits(item.id)).toMatchObject([{ state: "open", attempts: 0, maxAttempts: 5 }]);
    expect(await store.jobs.get(jobId ?? run.jobId)).toMatchObject({ id: jobId, state: "queued", attempts: 0, maxAttempts: 5 });
    expect(await store.items.retry(item.id, { entry: stageEntry("prep"), actor: "ana" })).toBeUndefined();
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("rerun opens a new visit and later stages' visits no longer count", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const prep = await claimOne(store);
    await startRun(store, prep);
    await store.runs.settle([success(prep, { advance: stageEntry("ocr") })]);
    const rerun = { entry: stageEntry("prep"), uncounted: ["ocr"], actor: "ana" };
    expect(await store.items.rerun(item.id, rerun), "its job is unfinished").toBeUndefined();
    const ocr = await claimOne(store);
    await startRun(store, ocr);
    await store.runs.settle([success(ocr, { advance: { kind: "finish" } })]);
    expect(await store.items.rerun(item.id, rerun)).toEqual(expect.any(Number));
    expect(await store.items.get(item.id)).toMatchObject({ state: "active", stage: "prep", finishedAt: null });
    expect(await store.items.visits(item.id)).toMatchObject([
      { stage: "prep", counts: false },
      { stage: "ocr", counts: false },
      { stage: "prep", counts: true, state: "open", number: 3 },
    ]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("cancelling an item ends its queued job, its visit and itself", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    expect(await store.items.cancel(item.id, { ...person, stopBy: farFuture })).toEqual({ item: { kind: "cancelled", itemId: item.id } });
    expect(await store.items.get(item.id)).toMatchObject({ state: "cancelled", error: "cancelled: not needed" });
    expect(await store.items.jobs(item.id)).toMatchObject([{ state: "cancelled", blockedBy: null }]);
    expect(await store.items.visits(item.id)).toMatchObject([{ state: "returned" }]);
    expect(await store.items.cancel(item.id, { ...person, stopBy: farFuture })).toBeUndefined();
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("cancelling a running item ends its run at once, and blocks the job until the process is proved stopped", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    expect(await store.items.cancel(item.id, { ...person, stopBy: farFuture })).toEqual({
      run: { runId: run.runId, jobId: run.jobId, queue: "p/prep" },
      item: { kind: "cancelled", itemId: item.id },
    });
    expect(await store.runs.get(run.runId)).toMatchObject({ state: "ended", outcome: "cancelled", slotKey: "p.prep" });
    expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "cancelled", blockedBy: run.runId, stopBy: farFuture });
    expect(await store.upkeep.slots()).toMatchObject([{ key: "p.prep", used: 1 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    const late = await store.runs.settle([success(run)]);
    expect(late[0]?.kind).toBe("lost");
    await store.runs.clearBlocks([{ jobId: run.jobId, runId: run.runId, proof: "exited", actor: "stopper" }]);
    expect(await store.upkeep.slots()).toMatchObject([{ key: "p.prep", used: 0 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a new job of an item whose old run is still being stopped waits for the same proof", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.items.cancel(item.id, { ...person, stopBy: farFuture });
    const jobId = await store.items.rerun(item.id, { entry: stageEntry("prep"), uncounted: [], actor: "ana" });
    expect(await store.jobs.get(jobId ?? run.jobId)).toMatchObject({ id: jobId, state: "queued", blockedBy: run.runId });
    expect(await claim(store)).toEqual([]);
    const blocked = await store.runs.listBlocked({ limit: 10 });
    expect(blocked.map((block) => block.jobId)).toEqual([run.jobId, jobId]);
    await store.runs.clearBlocks(blocked.map((block) => ({ jobId: block.jobId, runId: block.run.id, proof: "exited", actor: "stopper" })));
    expect(await claim(store)).toMatchObject([{ jobId }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("an item whose visit has no unfinished job is stranded: it is driven again within the visit's budget", async () => {
    const { store, query } = await withQueues(open);
    const item = await addItem(store);
    expect(await store.items.listStranded({ limit: 10 })).toEqual([]);
    const jobId = await onlyJobOf(store, item.id);
    await query(`update visits set attempts = 2 where id = ${item.visitId} returning id`);
    await query(`delete from ready where job_id = ${jobId} returning job_id`);
    await query(`delete from jobs where id = ${jobId} returning id`);
    expect(await store.items.listStranded({ limit: 10 })).toMatchObject([
      { item: { id: item.id }, visit: { id: item.visitId }, lastJob: undefined },
    ]);
    const redrive = {
      visitId: item.visitId,
      entry: stageEntry("prep", { maxAttempts: 9 }),
      onExhausted: "fail",
      actor: "reconciler",
      reason: "stranded",
    } as const;
    expect(await store.items.redrive(item.id, redrive)).toBe("queued");
    expect(await store.items.redrive(item.id, redrive), "it has a job again").toBeUndefined();
    expect(await store.items.jobs(item.id)).toMatchObject([{ state: "queued", attempts: 2, maxAttempts: 3 }]);
    expect(await store.items.listStranded({ limit: 10 })).toEqual([]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("an item stranded with its attempts spent is kept for a person where its stage says so: a held job, and one alert", async () => {
    const { store, query } = await withQueues(open);
    const item = await addItem(store);
    await query(`update visits set attempts = 3 where id = ${item.visitId} returning id`);
    await query(`delete from ready where job_id in (select id from jobs where item_id = ${item.id}) returning job_id`);
    await query(`delete from jobs where item_id = ${item.id} returning id`);
    const redrive = {
      visitId: item.visitId,
      entry: stageEntry("prep"),
      onExhausted: "hold",
      actor: "reconciler",
      reason: "no job",
    } as const;
    const answers = await Promise.all([store.items.redrive(item.id, redrive), store.items.redrive(item.id, redrive)]);
    expect(answers.toSorted()).toEqual(["held", undefined]);
    const [job, ...others] = await store.items.jobs(item.id);
    expect(others).toEqual([]);
    expect(job).toMatchObject({ state: "held", attempts: 3, maxAttempts: 3, error: "no job, and its 3 attempts are spent" });
    expect(await store.items.get(item.id)).toMatchObject({ state: "active" });
    expect(await store.items.listStranded({ limit: 10 })).toEqual([]);
    const alerts = (await store.outbox.due(10)).filter(({ kind }) => kind === "alert").map(({ key }) => key);
    expect(alerts).toEqual([`job.held:${job?.id}:waiting`]);
    expect(await store.jobs.unhold(present(job).id, { actor: "ana", force: false })).toBe(true);
    expect(await claim(store)).toMatchObject([{ itemId: item.id }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("an item stranded behind a job that is done is advanced once, whoever asks twice [B-G3]", async () => {
    const { store, clock } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([success(run, { output: "7" })]);
    const [stranded] = await store.items.listStranded({ limit: 10 });
    expect(stranded).toMatchObject({ lastJob: { id: run.jobId, state: "done" }, lastRun: { id: run.runId, outcome: "succeeded" } });
    clock.advance(minutes(1));
    const advance = { visitId: item.visitId, advance: stageEntry("ocr"), actor: "reconciler", reason: "stranded" };
    const answers = await Promise.all([store.items.advance(item.id, advance), store.items.advance(item.id, advance)]);
    expect(answers.sort()).toEqual([false, true]);
    expect(await store.items.get(item.id)).toMatchObject({ stage: "ocr", state: "active" });
    expect(await store.items.visits(item.id)).toMatchObject([{ state: "passed", output: "7" }, { state: "open" }]);
    expect(await store.items.jobs(item.id)).toHaveLength(2);
  });

  test("an item is not ended while its job is unfinished, nor otherwise than its last job", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const end = { visitId: item.visitId, state: "failed", actor: "reconciler", reason: "stranded" } as const;
    expect(await store.items.end(item.id, end)).toBe(false);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([success(run)]);
    expect(await store.items.end(item.id, end)).toBe(false);
    expect(await store.items.get(item.id)).toMatchObject({ state: "active" });
  });

  test("an item whose job is done and whose budget is spent is ended as failed once, and as nothing else [B-G3]", async () => {
    const { store, query } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([success(run)]);
    await query(`update visits set attempts = max_attempts where id = ${item.visitId} returning id`);
    const end = { visitId: item.visitId, actor: "reconciler", reason: "its gate is red" };
    for (const state of ["failed", "cancelled"] as const) expect(await store.items.end(item.id, { ...end, state })).toBe(false);
    const redrive = { ...end, entry: stageEntry("prep"), onExhausted: "fail" } as const;
    const answers = await Promise.all([store.items.redrive(item.id, redrive), store.items.redrive(item.id, redrive)]);
    expect(answers.toSorted()).toEqual(["failed", undefined]);
    expect(await store.items.get(item.id)).toMatchObject({ state: "failed", error: "its gate is red, and its 3 attempts are spent" });
    expect(await store.items.visits(item.id)).toMatchObject([{ state: "failed" }]);
    expect(await store.items.jobs(item.id)).toMatchObject([{ id: run.jobId, state: "done" }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("lists page by id, newest first, by state and pipeline", async () => {
    const { store } = await withQueues(open);
    await addItem(store, "a");
    const second = await addItem(store, "b");
    await addItem(store, "c");
    await store.items.cancel(second.id, { ...person, stopBy: farFuture });
    const keys = (rows: readonly { readonly key: string }[]) => rows.map((row) => row.key);
    expect(keys(await store.items.list({ limit: 2 }))).toEqual(["c", "b"]);
    expect(keys(await store.items.list({ limit: 2, before: second.id }))).toEqual(["a"]);
    expect(keys(await store.items.list({ limit: 9, states: ["active", "paused"] }))).toEqual(["c", "a"]);
    expect(keys(await store.items.list({ limit: 9, states: ["cancelled"] }))).toEqual(["b"]);
    expect(keys(await store.items.list({ limit: 9, pipeline: "other" }))).toEqual([]);
  });
});
