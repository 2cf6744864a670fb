import { expect, test } from "vitest";
import type { WorkerId } from "../../src/domain/ids.ts";
import { createFirstChecks, firstChecks } from "../../src/store/jobs/claim-rules.ts";
import type { ClaimRequest } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import { present } from "../support/present.ts";
import { addItem, claim, declareQueues, onlyJobOf, registerWorker, success } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withWorker(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return { ...opened, workerId: await registerWorker(opened.store) };
}

const limits = { timeoutMs: 10_000, heartbeatTimeoutMs: 2_000, maxRunningMs: 86_400_000 };

function request(workerId: WorkerId, claimSeq: number, overrides: Partial<ClaimRequest> = {}): ClaimRequest {
  return {
    claimId: `of-${workerId}-${claimSeq}`,
    workerId,
    claimSeq,
    queues: [{ name: "t", limits }],
    max: 10,
    startNow: 10,
    ...overrides,
  };
}

const enqueue = async (store: Store, queue: string, count: number, priority = 0) =>
  await store.jobs.enqueue({ queue, priority, jobs: Array.from({ length: count }, (_, index) => ({ payload: `${index}` })) });

describeStores((open) => {
  test("jobs are taken in (priority, id) order, queues merged", async () => {
    const { store, workerId } = await withWorker(open);
    const [t1, t2] = await enqueue(store, "t", 2, 5);
    const [o1, o2] = await enqueue(store, "p/ocr", 2, 5);
    const [t3] = await enqueue(store, "t", 1, 1);
    const [o3] = await enqueue(store, "p/ocr", 1, -1);
    const queues = [
      { name: "p/ocr", limits },
      { name: "t", limits },
    ];
    const first = await store.runs.claim(request(workerId, 1, { queues, max: 3 }));
    expect(first.map((run) => run.jobId)).toEqual([o3, t3, t1]);
    const rest = await store.runs.claim(request(workerId, 2, { queues }));
    expect(rest.map((run) => run.jobId)).toEqual([t2, o1, o2]);
    expect(await store.runs.claim(request(workerId, 3, { queues }))).toEqual([]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("after an empty claim the next one finds what has come, and refuses what it always refuses", async () => {
    const { store, workerId } = await withWorker(open);
    let claimSeq = 0;
    const ask = async (overrides: Partial<ClaimRequest> = {}) => await store.runs.claim(request(workerId, ++claimSeq, overrides));
    const empty = async () => expect(await ask()).toEqual([]);
    await empty();
    const [first] = await enqueue(store, "t", 1);
    expect((await ask()).map((run) => run.jobId)).toEqual([first]);
    await empty();
    await empty();
    const nobodys = [{ name: "nobody's", limits }];
    await expect(ask({ queues: nobodys })).rejects.toMatchObject({ code: "not_found" });
    await store.upkeep.setQueuePaused({ queues: ["t"], paused: true, actor: "test" });
    const [paused] = await enqueue(store, "t", 1);
    await empty();
    await store.upkeep.setQueuePaused({ queues: ["t"], paused: false, actor: "test" });
    const again = request(workerId, ++claimSeq);
    expect((await store.runs.claim(again)).map((run) => run.jobId)).toEqual([paused]);
    await empty();
    expect(
      (await store.runs.claim(again)).map((run) => run.jobId),
      "asked again after an answer that was lost",
    ).toEqual([paused]);
    await empty();
    await enqueue(store, "t", 1);
    await store.workers.drain(workerId);
    await empty();
  });

  test("a claim hands out what the work needs, and the run keeps the limits it was claimed with", async () => {
    const { store, workerId } = await withWorker(open);
    const [jobId] = await store.jobs.enqueue({ queue: "t", jobs: [{ payload: '{"x":"\\"é"}' }] });
    const [run] = await store.runs.claim(request(workerId, 7));
    expect(run).toMatchObject({
      jobId,
      queue: "t",
      attempt: 1,
      ownerEpoch: 1,
      started: true,
      payload: '{"x":"\\"é"}',
      itemId: null,
      visitId: null,
    });
    const now = store.now();
    expect(await store.runs.get(present(run).runId)).toMatchObject({
      jobId,
      attempt: 1,
      state: "started",
      ownerEpoch: 1,
      workerId,
      kind: "handler",
      claimSeq: 7,
      reservedAt: now,
      startedAt: now,
      endedAt: null,
      limits,
      process: null,
      slotKey: null,
    });
    expect(await store.jobs.get(present(run).jobId)).toMatchObject({
      state: "running",
      currentRunId: present(run).runId,
      runCount: 1,
      attempts: 1,
    });
  });

  test("handlers are claimed as started as far as startNow goes, the rest and every command as reserved, unspent", async () => {
    const { store, workerId } = await withWorker(open);
    await enqueue(store, "t", 3);
    await enqueue(store, "p/ocr", 1, -1);
    const runs = await store.runs.claim(
      request(workerId, 1, {
        queues: [
          { name: "t", limits },
          { name: "p/ocr", limits },
        ],
        startNow: 2,
      }),
    );
    expect(runs.map((run) => [run.queue, run.started])).toEqual([
      ["p/ocr", false],
      ["t", true],
      ["t", true],
      ["t", false],
    ]);
    const now = store.now();
    for (const run of runs) {
      const row = await store.runs.get(run.runId);
      expect(row).toMatchObject({ state: run.started ? "started" : "reserved", startedAt: run.started ? now : null });
      // A reserved run is checked when it should have started; a started one when its first limit could pass.
      expect(row?.checkAt).toBe(run.started ? firstChecks.firstCheckAt(now, limits) : now + 30_000);
      expect((await store.jobs.get(run.jobId))?.attempts).toBe(run.started ? 1 : 0);
    }
  });

  test("what a run is first looked at by are the thresholds in force when it is claimed", async () => {
    const { store: owner, openAgain } = await withWorker(open);
    const thresholds = { startWithinMs: 4_000, maxRunningMs: 60_000 };
    const store = await openAgain({ checks: createFirstChecks(() => thresholds) });
    const workerId = await registerWorker(owner, "other");
    await enqueue(owner, "t", 4);
    const queues = [{ name: "t", limits: {} }];
    const [started, reserved] = await store.runs.claim(request(workerId, 1, { queues, max: 2, startNow: 1 }));
    thresholds.startWithinMs = 90_000;
    thresholds.maxRunningMs = 80_000;
    const [startedLater, reservedLater] = await store.runs.claim(request(workerId, 2, { queues, max: 2, startNow: 1 }));
    const checks = await Promise.all(
      [started, reserved, startedLater, reservedLater].map(async (run) => await store.runs.get(present(run).runId)),
    );
    const now = store.now();
    expect(checks.map((run) => (run?.checkAt ?? 0) - now)).toEqual([60_000, 4_000, 80_000, 90_000]);
    // The runs have no limits of their own: the thresholds alone decide.
    expect(checks.map((run) => run?.limits)).toEqual([{}, {}, {}, {}]);
  });

  test("a claim asked again answers the same runs and takes nothing more", async () => {
    const { store, workerId } = await withWorker(open);
    await enqueue(store, "t", 5);
    const first = await store.runs.claim(request(workerId, 1, { max: 3, startNow: 1 }));
    expect(first).toHaveLength(3);
    expect(await store.runs.claim(request(workerId, 1, { max: 3, startNow: 1 }))).toEqual(first);
    const [a, b] = await Promise.all([store.runs.claim(request(workerId, 2)), store.runs.claim(request(workerId, 2))]);
    expect(a).toHaveLength(2);
    expect(b).toEqual(a);
    // A run that has ended meanwhile is not handed out again.
    await store.runs.settle([success(present(first[0]))]);
    expect(await store.runs.claim(request(workerId, 1, { max: 3, startNow: 1 }))).toEqual(first.slice(1));
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("of two claims under way each is answered with its own runs, in whatever order they are asked again", async () => {
    const { store, workerId } = await withWorker(open);
    const ids = await enqueue(store, "t", 300);
    const ask = async (claimSeq: number) => await store.runs.claim(request(workerId, claimSeq, { max: 150, startNow: 1 }));
    const [one, two] = await Promise.all([ask(1), ask(2)]);
    expect([one.length, two.length]).toEqual([150, 150]);
    expect([...one, ...two].map((run) => run.jobId).toSorted((a, b) => a - b)).toEqual(ids);
    expect(await ask(2)).toEqual(two);
    expect(await ask(1)).toEqual(one);
    expect(await Promise.all([ask(2), ask(1), ask(2)])).toEqual([two, one, two]);
    // The answer to 1 is lost: the session goes on with what 2 brought, and gets the rest when it asks again.
    await store.runs.settle(two.map((run) => success(run)));
    expect(await ask(1)).toEqual(one);
    expect(await ask(2), "all of it has ended, and nothing is left").toEqual([]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a claim is lost only once the session has received it and all before it", async () => {
    const { store, workerId } = await withWorker(open);
    await enqueue(store, "t", 4);
    const ask = async (claimSeq: number) => await store.runs.claim(request(workerId, claimSeq, { max: 2, startNow: 0 }));
    await Promise.all([ask(1), ask(2)]);
    const two = await ask(2);
    const held = two.map((run) => run.runId);
    expect(await store.runs.checkUnheld({ workerId, held, claimSeqReceived: 0 }), "2 was answered first").toBe(0);
    expect(await store.runs.checkUnheld({ workerId, held, claimSeqReceived: 2 })).toBe(2);
  });

  test("what two claims without answers have taken comes back unspent when their session dies", async () => {
    const { store, workerId } = await withWorker(open);
    const ids = await enqueue(store, "t", 6);
    await Promise.all([1, 2].map(async (seq) => await store.runs.claim(request(workerId, seq, { max: 3, startNow: 0 }))));
    await store.workers.declareDead(workerId, { reason: "dead_pid", message: "gone", evidence: "{}", actor: "test" });
    const page = { workerIds: [workerId], limit: 100, reason: "dead_pid", actor: "test", recoverySpreadMs: 0, random: () => 0 };
    expect(await store.runs.settleLostPage(page)).toMatchObject({ settled: 6, more: false });
    for (const id of ids) expect(await store.jobs.get(id)).toMatchObject({ state: "queued", attempts: 0, currentRunId: null });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a session that is dead, stopped, draining or unknown is given nothing", async () => {
    const { store } = await withWorker(open);
    await enqueue(store, "t", 4);
    const [dead, stopped, draining] = await Promise.all(["a", "b", "c"].map((name) => registerWorker(store, name)));
    await store.workers.declareDead(present(dead), { reason: "dead_pid", message: "gone", evidence: "{}", actor: "test" });
    await store.workers.leave(present(stopped));
    await store.workers.drain(present(draining));
    for (const workerId of [present(dead), present(stopped), present(draining), 999 as WorkerId])
      expect(await store.runs.claim(request(workerId, 1))).toEqual([]);
    expect(await claim(store, { queues: ["t"] })).toHaveLength(4);
  });

  test("concurrent claims of many sessions give each job to one of them", async () => {
    const { store, workerId, openAgain } = await withWorker(open);
    const ids = await enqueue(store, "t", 300);
    const other = store.capabilities.manyWriters ? await openAgain() : store;
    const workers = [workerId, ...(await Promise.all(["a", "b", "c"].map((name) => registerWorker(store, name))))];
    const taken = await Promise.all(
      workers.flatMap((worker, index) =>
        Array.from({ length: 5 }, (_, seq) => (index % 2 === 0 ? store : other).runs.claim(request(worker, seq + 1, { max: 40 }))),
      ),
    );
    // A claim may skip what another is taking; the next claim gets the rest.
    const rest = await store.runs.claim(request(workerId, 9, { max: 300 }));
    const jobs = [...taken.flat(), ...rest].map((run) => run.jobId);
    expect([...jobs].sort((a, b) => a - b)).toEqual([...ids]);
    expect(new Set([...taken.flat(), ...rest].map((run) => run.runId)).size).toBe(300);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a slot is never over its capacity, whoever claims at once, and its end lets the next one in", async () => {
    const { store, workerId, openAgain } = await withWorker(open);
    await enqueue(store, "p/prep", 6);
    await enqueue(store, "t", 2, 1);
    const other = store.capabilities.manyWriters ? await openAgain() : store;
    const queues = [
      { name: "p/prep", limits },
      { name: "t", limits },
    ];
    const second = await registerWorker(store, "second");
    const runs = (
      await Promise.all([store.runs.claim(request(workerId, 1, { queues })), other.runs.claim(request(second, 1, { queues }))])
    ).flat();
    expect(runs.filter((run) => run.queue === "p/prep")).toHaveLength(2);
    expect(runs.filter((run) => run.queue === "t")).toHaveLength(2);
    expect(await store.upkeep.slots()).toEqual([{ key: "p.prep", capacity: 2, used: 2 }]);
    expect(await store.runs.claim(request(workerId, 2, { queues }))).toEqual([]);
    const held = present(runs.find((run) => run.queue === "p/prep"));
    expect(await store.runs.settle([success(held)])).toMatchObject([{ kind: "ok" }]);
    expect(await store.upkeep.slots()).toEqual([{ key: "p.prep", capacity: 2, used: 1 }]);
    expect(await store.runs.claim(request(workerId, 3, { queues }))).toHaveLength(1);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("two queues that share a slot share its room, the better job first", async () => {
    const { store, workerId } = await withWorker(open);
    const slot = { key: "shared", capacity: 1 };
    await store.jobs.ensureQueues([
      { name: "a", kind: "handler", slot },
      { name: "b", kind: "handler", slot },
    ]);
    await enqueue(store, "a", 2, 3);
    const [best] = await enqueue(store, "b", 1, 1);
    const runs = await store.runs.claim(
      request(workerId, 1, {
        queues: [
          { name: "a", limits },
          { name: "b", limits },
        ],
      }),
    );
    expect(runs.map((run) => run.jobId)).toEqual([best]);
  });

  test("a paused queue, a paused item's job and a delayed job are not taken", async () => {
    const { store, workerId } = await withWorker(open);
    await enqueue(store, "t", 1);
    await store.jobs.enqueue({ queue: "p/ocr", delayMs: 1000, jobs: [{}] });
    const item = await addItem(store);
    await store.items.setPaused(item.id, { paused: true, actor: "ana" });
    await store.upkeep.setQueuePaused({ queues: ["t"], paused: true, actor: "ana" });
    const queues = ["t", "p/ocr", "p/prep"].map((name) => ({ name, limits }));
    expect(await store.runs.claim(request(workerId, 1, { queues }))).toEqual([]);
    await store.upkeep.setQueuePaused({ queues: "all", paused: false, actor: "ana" });
    expect(await store.runs.claim(request(workerId, 2, { queues }))).toHaveLength(1);
  });

  test("a job of an item comes with its item and visit, and its start counts on the visit", async () => {
    const { store, workerId } = await withWorker(open);
    await store.jobs.ensureQueues([{ name: "p/prep", kind: "handler" }]);
    const item = await addItem(store);
    const jobId = await onlyJobOf(store, item.id);
    const [run] = await store.runs.claim(request(workerId, 1, { queues: [{ name: "p/prep", limits }] }));
    expect(run).toMatchObject({ jobId, itemId: item.id, visitId: item.visitId, started: true });
    expect((await store.items.visits(item.id))[0]).toMatchObject({ attempts: 1 });
    expect((await store.outbox.due(10)).map((entry) => [entry.kind, entry.key])).toEqual([["state-file", String(item.id)]]);
  });

  test("claims that no store should see are refused", async () => {
    const { store, workerId } = await withWorker(open);
    const twice = [
      { name: "t", limits },
      { name: "t", limits },
    ];
    for (const bad of [{ max: 1001 }, { max: -1 }, { max: 1.5 }, { startNow: -1 }, { queues: twice }]) {
      await expect(store.runs.claim(request(workerId, 1, bad))).rejects.toMatchObject({ code: "bad_request" });
    }
    await expect(store.runs.claim(request(workerId, 1, { queues: [{ name: "nobody", limits }] }))).rejects.toMatchObject({
      code: "not_found",
    });
    expect(await store.runs.claim(request(workerId, 1, { max: 0 }))).toEqual([]);
    expect(await store.runs.claim(request(workerId, 1, { queues: [] }))).toEqual([]);
  });
});
