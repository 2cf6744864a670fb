import { expect, test } from "vitest";
import { asHostId, asOwnerEpoch, type RunId } from "../../src/domain/ids.ts";
import { addMs } from "../../src/domain/time.ts";
import type { ClaimedRun } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import { present } from "../support/present.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  farFuture,
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

const fenceOf = ({ runId, ownerEpoch }: ClaimedRun) => ({ runId, ownerEpoch });
const begin = (store: Store, run: ClaimedRun) => ({
  ...fenceOf(run),
  startedAt: store.now(),
  wrapper: processOn("host-a", 50),
  limits: { timeoutMs: 7_000, heartbeatTimeoutMs: 3_000, maxRunningMs: 90_000 },
  checkAt: addMs(store.now(), 6_000),
});

describeStores((open) => {
  test("a run is followed once a later one of its epoch is on record, whether it is itself or not, and never by one of another epoch", async () => {
    const { store } = await withQueues(open);
    const claimed = async (): Promise<RunId> => {
      await store.jobs.enqueue({ queue: "t", jobs: [{}] });
      return (await claimOne(store)).runId;
    };
    const first = await claimed();
    expect([await store.runs.isFollowed(first), await store.runs.isFollowed((first - 1) as RunId)]).toEqual([false, true]);
    await store.upkeep.raiseEpoch("restored");
    const restored = await claimed();
    expect([await store.runs.isFollowed(first), await store.runs.isFollowed(restored)]).toEqual([false, false]);
    const next = await claimed();
    expect([await store.runs.isFollowed(restored), await store.runs.isFollowed(next)]).toEqual([true, false]);
  });

  test("a start is counted once on job and visit, and keeps wrapper and limits; asked again it answers already [B-15]", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    expect(await store.runs.start([begin(store, run)])).toEqual([{ kind: "ok" }]);
    expect(await store.runs.start([begin(store, run)])).toEqual([{ kind: "already" }]);
    expect(await store.runs.get(run.runId)).toMatchObject({
      state: "started",
      startedAt: store.now(),
      checkAt: addMs(store.now(), 6_000),
      process: processOn("host-a", 50),
      wrapper: processOn("host-a", 50),
      limits: { timeoutMs: 7_000, heartbeatTimeoutMs: 3_000, maxRunningMs: 90_000 },
    });
    expect(await store.jobs.get(run.jobId)).toMatchObject({ attempts: 1 });
    expect((await store.items.visits(item.id))[0]).toMatchObject({ attempts: 1 });
  });

  test("checks are brought forward for shorter thresholds, of runs that these bind, and never back [B-68]", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}, {}, {}, {}, {}, {}] });
    const [reserved, unlimited, own, timed, exited, pending] = (await claim(store)).map(present);
    const bare = { ...begin(store, present(unlimited)), checkAt: addMs(store.now(), 86_400_000) };
    const limits = [{}, { maxRunningMs: 90_000_000 }, { timeoutMs: 90_000_000 }, {}, {}];
    const starts = [unlimited, own, timed, exited, pending].map((run, at) => ({
      ...bare,
      ...fenceOf(present(run)),
      limits: present(limits[at]),
    }));
    await store.runs.start(starts);
    const startedAt = store.now();
    clock.advance(1_000);
    for (const run of [exited, pending])
      await store.runs.recordExit({ ...fenceOf(present(run)), exitCode: 0, checkAt: addMs(store.now(), 300_000) });
    await store.runs.recordGatePending({ ...fenceOf(present(pending)), checkAt: addMs(store.now(), 600_000), pendingSince: store.now() });
    clock.advance(1_000);
    const checks = async () =>
      await Promise.all(
        [reserved, unlimited, own, timed, exited, pending].map(
          async (run) => ((await store.runs.get(present(run).runId))?.checkAt ?? 0) - startedAt,
        ),
      );
    const before = [30_000, 86_400_000, 86_400_000, 86_400_000, 301_000, 601_000];
    expect(await checks()).toEqual(before);
    const longer = { startWithinMs: 60_000, maxRunningMs: 99_000_000, finalizeGraceMs: 999_000 };
    expect(await store.runs.bringChecksForward(longer)).toBe(0);
    expect(await checks()).toEqual(before);
    const shorter = { startWithinMs: 5_000, maxRunningMs: 60_000, finalizeGraceMs: 0 };
    expect(await store.runs.bringChecksForward(shorter)).toBe(3);
    expect(await checks()).toEqual([5_000, 60_000, 86_400_000, 86_400_000, 1_000, 601_000]);
    expect(await store.runs.bringChecksForward(shorter)).toBe(0);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("what a session has received and does not hold is due at once; what may still be on its way to it is not", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}, {}, {}, {}] });
    const workerId = await registerWorker(store, "one");
    const [started] = await claim(store, { workerId, max: 1 });
    const [lost] = await claim(store, { workerId, max: 1 });
    const [held] = await claim(store, { workerId, max: 1 });
    const received = present(await store.runs.get(present(held).runId)).claimSeq;
    const [onItsWay] = await claim(store, { workerId, max: 1 });
    await store.runs.start([begin(store, present(started))]);
    clock.advance(5_000);
    const ids = [started, lost, held, onItsWay].map((run) => present(run).runId);
    const due = async () => {
      const now = store.now();
      return (await Promise.all(ids.map(async (id) => await store.runs.get(id)))).map((run) => (run?.checkAt ?? 0) <= now);
    };
    const says = { workerId, held: [present(held).runId], claimSeqReceived: received };
    const other = await registerWorker(store, "other");
    expect(await store.runs.checkUnheld({ ...says, workerId: other })).toBe(0);
    expect(await due()).toEqual([false, false, false, false]);
    expect(await store.runs.checkUnheld(says)).toBe(1);
    expect(await due()).toEqual([false, true, false, false]);
    expect(await store.runs.checkUnheld(says)).toBe(0);
    expect(await store.runs.checkUnheld({ ...says, claimSeqReceived: received + 1 })).toBe(1);
    expect(await due()).toEqual([false, true, false, true]);
  });

  test("a started run that its session does not hold is due for its judge if it is a handler's, and else is not [F-9.4]", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}] });
    const workerId = await registerWorker(store, "one");
    const handlers = await claim(store, { workerId, queues: ["t"], max: 2 });
    const [command] = await claim(store, { workerId, queues: ["p/ocr"], max: 1 });
    const runs = [...handlers, present(command)];
    for (const run of runs) if (!run.started) await store.runs.start([begin(store, run)]);
    clock.advance(5_000);
    const [named, unnamed] = handlers.map(({ runId }) => runId);
    const says = { workerId, held: [present(named)], claimSeqReceived: 99 };
    expect(await store.runs.checkUnheld({ ...says, claimSeqReceived: 0 })).toBe(0);
    expect(await store.runs.checkUnheld(says)).toBe(1);
    expect((await store.runs.listDue({ now: store.now(), limit: 10 })).map(({ id }) => id)).toEqual([unnamed]);
  });

  test("a start under an old fence, of an ended run, or of none changes nothing and says why", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}, {}] });
    const [taken, ended] = await claim(store);
    const next = await registerWorker(store, "next");
    await store.runs.takeOver({ ...fenceOf(present(taken)), workerId: next, actor: "adoption", reason: "dead_pid", checkAt: farFuture });
    await store.runs.settle([retried(present(ended), { outcome: "never_started" })]);
    const answers = await store.runs.start([
      begin(store, present(taken)),
      begin(store, present(ended)),
      begin(store, { ...present(taken), runId: 999 as RunId }),
    ]);
    expect(answers).toMatchObject([
      { kind: "lost", now: { ownerEpoch: 2, state: "reserved", workerId: next } },
      { kind: "lost", now: { state: "ended" } },
      { kind: "gone" },
    ]);
    expect(await store.jobs.get(present(taken).jobId)).toMatchObject({ attempts: 0 });
  });

  test("a command's own process replaces its wrapper's, which is kept beside it", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}] });
    const run = await claimOne(store);
    await store.runs.start([begin(store, run)]);
    expect(await store.runs.recordProcess({ ...fenceOf(run), process: processOn("host-a", 51) })).toEqual({ kind: "ok" });
    expect(await store.runs.get(run.runId)).toMatchObject({ process: processOn("host-a", 51), wrapper: processOn("host-a", 50) });
    expect(await store.runs.listLocalProcesses(asHostId("host-a"))).toEqual([{ runId: run.runId, process: processOn("host-a", 51) }]);
    expect(await store.runs.listLocalProcesses(asHostId("host-b"))).toEqual([]);
    const stale = { runId: run.runId, ownerEpoch: asOwnerEpoch(9), process: processOn("host-a", 52) };
    expect(await store.runs.recordProcess(stale)).toMatchObject({ kind: "lost", now: { ownerEpoch: 1 } });
  });

  test("an exit is recorded once, before anything else; a late one is kept as an event [B-16]", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}] });
    const run = await claimOne(store);
    const exit = { ...fenceOf(run), exitCode: 3, checkAt: farFuture };
    expect(await store.runs.recordExit(exit)).toMatchObject({ kind: "lost", now: { state: "reserved" } });
    await startRun(store, run);
    const exitedAt = clock.advance(40);
    expect(await store.runs.recordExit(exit)).toEqual({ kind: "ok" });
    expect(await store.runs.recordExit(exit)).toEqual({ kind: "already" });
    expect(await store.runs.get(run.runId)).toMatchObject({ state: "exited", exitCode: 3, exitedAt, checkAt: farFuture });
    await store.runs.settle([retried(run, { exitCode: 3 })]);
    expect(await store.runs.recordExit({ ...exit, exitCode: 0 })).toMatchObject({ kind: "lost", now: { state: "ended" } });
    await store.runs.recordExit({ ...exit, exitCode: 0 });
    const late = (await store.actions.list({ runId: run.runId, limit: 20 })).filter(
      (row) => row.action === "run.late_result" && row.evidence?.includes('"exitCode":0'),
    );
    expect(late).toHaveLength(1);
    expect((await store.runs.get(run.runId))?.exitCode).toBe(3);
  });

  test("a gate's patience counts from when its reader says, and the check moves with each reading", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}] });
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.recordExit({ ...fenceOf(run), exitCode: 0, checkAt: farFuture });
    const first = store.now();
    await store.runs.recordGatePending({ ...fenceOf(run), checkAt: addMs(first, 1_000), pendingSince: first });
    clock.advance(1_000);
    expect(await store.runs.recordGatePending({ ...fenceOf(run), checkAt: addMs(first, 5_000), pendingSince: first })).toEqual({
      kind: "ok",
    });
    expect(await store.runs.get(run.runId)).toMatchObject({ gatePendingAt: first, checkAt: addMs(first, 5_000) });
    // The machine kept it from being read: what was waited before does not count.
    await store.runs.recordGatePending({ ...fenceOf(run), checkAt: addMs(first, 5_000), pendingSince: store.now() });
    expect(await store.runs.get(run.runId)).toMatchObject({ gatePendingAt: addMs(first, 1_000) });
  });

  test("of rivals that take over at the same epoch one wins; the run keeps its id, and its beats go on", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}] });
    const run = await claimOne(store);
    await startRun(store, run);
    const workers = await Promise.all(["a", "b", "c"].map((name) => registerWorker(store, name)));
    const epochs = await Promise.all(
      workers.map((workerId) =>
        store.runs.takeOver({ ...fenceOf(run), workerId, actor: "adoption", reason: "dead_pid", checkAt: farFuture }),
      ),
    );
    expect(epochs.filter((epoch) => epoch === 2)).toHaveLength(1);
    const winner = present(workers[epochs.indexOf(asOwnerEpoch(2))]);
    expect(await store.runs.get(run.runId)).toMatchObject({ ownerEpoch: 2, workerId: winner, state: "started" });
    expect(await store.runs.beat([{ runId: run.runId, at: store.now() }])).toEqual([]);
    expect((await store.actions.list({ runId: run.runId, limit: 10 })).map((row) => row.action)).toEqual(["run.taken_over"]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    await store.runs.settle([success({ ...run, ownerEpoch: asOwnerEpoch(2) })]);
    const late = { runId: run.runId, ownerEpoch: asOwnerEpoch(2), workerId: winner, actor: "a", reason: "r", checkAt: farFuture };
    expect(await store.runs.takeOver(late)).toBeUndefined();
  });

  test("what is due comes oldest first, with all that a judge and a settler ask; moved checks are due later [B-13] [B-14]", async () => {
    const { store, clock } = await withQueues(open);
    const item = await addItem(store);
    await store.jobs.enqueue({ queue: "t", agent: "developer", repo: "shop", maxLosses: 4, jobs: [{}] });
    const workerId = await registerWorker(store);
    const [a, b] = await claim(store, { workerId });
    await startRun(store, present(a));
    expect(await store.runs.listDue({ now: store.now(), limit: 10 })).toEqual([]);
    clock.advance(90_000_000);
    const due = await store.runs.listDue({ now: store.now(), limit: 10 });
    expect(due.map((run) => run.id)).toEqual([present(a).runId, present(b).runId]);
    expect(due[0]).toMatchObject({
      queue: "p/prep",
      itemId: item.id,
      itemStage: "prep",
      itemVisitId: item.visitId,
      pipeline: "p",
      pipelineVersion: "v1",
      attempts: 1,
      maxAttempts: 3,
      supervisor: { workerId, state: "live", process: processOn() },
    });
    expect(due[1]).toMatchObject({
      queue: "t",
      itemId: null,
      agent: "developer",
      repo: "shop",
      itemStage: null,
      pipeline: null,
    });
    expect(await store.runs.listDue({ now: store.now(), limit: 1 })).toHaveLength(1);
    const later = addMs(store.now(), 1_000);
    await store.runs.moveChecks([
      { ...fenceOf(present(a)), checkAt: later },
      { runId: present(b).runId, ownerEpoch: asOwnerEpoch(7), checkAt: later },
    ]);
    expect((await store.runs.listDue({ now: store.now(), limit: 10 })).map((run) => run.id)).toEqual([present(b).runId]);
    await store.runs.settle([success(present(b))]);
    expect(await store.runs.listDue({ now: farFuture, limit: 10 })).toHaveLength(1);
  });

  test("live runs are listed by session, by id and by host, a page at a time", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 9 }, () => ({})) });
    const workers = [
      await registerWorker(store, "a"),
      await registerWorker(store, "b", processOn("host-b")),
      await registerWorker(store, "c"),
    ];
    const runs: ClaimedRun[] = [];
    for (const workerId of workers) runs.push(...(await claim(store, { workerId, max: 3 })));
    await store.runs.settle([success(present(runs[1]))]);
    const live = runs.filter((_, index) => index !== 1).map((run) => run.runId);
    const ids = (rows: readonly { readonly id: RunId }[]) => rows.map((row) => row.id);
    expect(ids(await store.runs.listAllLive({ limit: 100 }))).toEqual(live);
    expect(ids(await store.runs.listAllLive({ limit: 3, after: present(live[2]) }))).toEqual(live.slice(3, 6));
    expect(ids(await store.runs.listAllLive({ limit: 100, hostId: asHostId("host-b") }))).toEqual(runs.slice(3, 6).map((run) => run.runId));
    expect(ids(await store.runs.listLive([present(live[0]), present(runs[1]).runId, present(live[4])]))).toEqual([live[0], live[4]]);
    const first = await store.runs.listOfWorkers({ workerIds: [present(workers[2]), present(workers[0])], limit: 3 });
    expect(ids(first)).toEqual([present(runs[0]).runId, present(runs[2]).runId, present(runs[6]).runId]);
    const after = { workerId: present(workers[2]), runId: present(runs[6]).runId };
    expect(ids(await store.runs.listOfWorkers({ workerIds: [present(workers[2]), present(workers[0])], limit: 9, after }))).toEqual([
      present(runs[7]).runId,
      present(runs[8]).runId,
    ]);
    // The lean form answers the same runs, page by page.
    const held = await store.runs.listHeld({ workerIds: [present(workers[2]), present(workers[0])], limit: 3 });
    expect(held.map((run) => run.runId)).toEqual(ids(first));
    expect(held[0]).toEqual({
      runId: present(runs[0]).runId,
      jobId: present(runs[0]).jobId,
      ownerEpoch: 1,
      workerId: workers[0],
      kind: present(first[0]).kind,
      state: present(first[0]).state,
    });
    const rest = await store.runs.listHeld({ workerIds: [present(workers[2]), present(workers[0])], limit: 9, after });
    expect(rest.map((run) => run.runId)).toEqual([present(runs[7]).runId, present(runs[8]).runId]);
    expect((await store.runs.ofJob(present(runs[1]).jobId)).map((row) => row.outcome)).toEqual(["succeeded"]);
  });

  test("who looks at plain jobs of handlers alone is given no other, however many others come first", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.ensureQueues([{ name: "p/read", kind: "handler" }]);
    await store.items.add({ pipeline: "p", key: "a", dir: "a", input: "{}", first: stageEntry("read"), actor: "test" });
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}, {}, {}] });
    const workerId = await registerWorker(store);
    const others = await claim(store, { workerId, queues: ["p/read", "p/ocr"] });
    for (const run of others) await startRun(store, run);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    const plain = await claim(store, { workerId, queues: ["t"] });
    clock.advance(100_000_000);
    const all = [...others, ...plain].map(({ runId }) => runId);
    const first = present(plain[0]).runId;
    const ids = (runs: readonly { readonly id: RunId }[]) => runs.map(({ id }) => id);
    expect([others.length, plain.length]).toEqual([4, 2]);
    const plainIds = plain.map(({ runId }) => runId);
    const now = store.now();
    expect(ids(await store.runs.listDue({ now, limit: 10 }))).toHaveLength(6);
    expect(new Set(ids(await store.runs.listDue({ now, limit: 10, only: "plain" })))).toEqual(new Set(plainIds));
    expect(ids(await store.runs.listDue({ now, limit: 1, only: "plain" }))).toHaveLength(1);
    expect(ids(await store.runs.listLive(all, { only: "plain" }))).toEqual(plainIds);
    expect(ids(await store.runs.listAllLive({ limit: 1, only: "plain" }))).toEqual([first]);
    expect(ids(await store.runs.listAllLive({ limit: 9, only: "plain", after: first }))).toEqual(plainIds.slice(1));
    const held = await store.runs.listHeld({ workerIds: [workerId], limit: 1, only: "plain" });
    expect(held.map(({ runId }) => runId)).toEqual([first]);
    const rest = await store.runs.listHeld({ workerIds: [workerId], limit: 9, only: "plain", after: { workerId, runId: first } });
    expect(rest.map(({ runId }) => runId)).toEqual(plainIds.slice(1));

    await store.runs.settle([...others, ...plain].map((run) => retried(run, { stopBy: farFuture })));
    expect(await store.runs.listBlocked({ limit: 10 })).toHaveLength(6);
    const [blocked, none] = await store.runs.listBlocked({ limit: 1, only: "plain" });
    expect([blocked?.run.id, none]).toEqual([first, undefined]);
    const behind = await store.runs.listBlocked({ limit: 10, only: "plain", after: present(blocked).jobId });
    expect(behind.map(({ run }) => run.id)).toEqual(plainIds.slice(1));
  });

  test("who hears some sessions is not given what others have reserved, until these are over", async () => {
    const { store, clock } = await withQueues(open);
    const [mine, theirs, gone] = [
      await registerWorker(store, "mine"),
      await registerWorker(store, "theirs"),
      await registerWorker(store, "gone"),
    ];
    const claimed = async (workerId: typeof mine) => {
      await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}, {}] });
      const [reserved, started] = await claim(store, { workerId, queues: ["p/ocr"], max: 2 });
      await startRun(store, present(started));
      return [present(reserved).runId, present(started).runId] as const;
    };
    const [mineReserved, mineStarted] = await claimed(mine);
    const [theirsReserved, theirsStarted] = await claimed(theirs);
    const [goneReserved, goneStarted] = await claimed(gone);
    await store.workers.leave(gone);
    clock.advance(100_000_000);
    const dueFor = async (heard: readonly (typeof mine)[] | undefined) =>
      new Set((await store.runs.listDue({ now: store.now(), limit: 10, heard })).map(({ id }) => id));
    expect(await dueFor([mine])).toEqual(new Set([mineReserved, mineStarted, theirsStarted, goneReserved, goneStarted]));
    expect(await dueFor([])).toEqual(new Set([mineStarted, theirsStarted, goneReserved, goneStarted]));
    expect((await dueFor(undefined)).size).toBe(6);
    const kept = await store.runs.listLive([mineReserved, theirsReserved, theirsStarted], { heard: [mine] });
    expect(kept.map(({ id }) => id)).toEqual([mineReserved, theirsStarted]);
    await store.workers.declareDead(theirs, { reason: "silent", message: "silent", evidence: "{}", actor: "test" });
    expect(await dueFor([mine])).toContain(theirsReserved);
  });

  test("a host's suspend is added to its live runs: commands by their process, handlers by their worker", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    await store.jobs.enqueue({ queue: "p/ocr", jobs: [{}] });
    const here = await registerWorker(store, "here");
    const there = await registerWorker(store, "there", processOn("host-b"));
    const [handler] = await claim(store, { workerId: here, queues: ["t"], max: 1 });
    const [elsewhere] = await claim(store, { workerId: there, queues: ["t"], max: 1 });
    const [command] = await claim(store, { workerId: there, queues: ["p/ocr"] });
    await startRun(store, present(command), processOn("host-a", 77));
    await store.runs.addSuspend({ hostId: asHostId("host-a"), ms: 4_000 });
    const slept = await Promise.all(
      [handler, elsewhere, command].map(async (run) => (await store.runs.get(present(run).runId))?.suspendedMs),
    );
    expect(slept).toEqual([4_000, 0, 4_000]);
  });

  test("a block holds for every job that waits for the same process, and one proof frees them all", async () => {
    const { store } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.runs.settle([success(run, { advance: stageEntry("ocr"), stopBy: addMs(store.now(), 5_000) })]);
    const blocked = await store.runs.listBlocked({ limit: 10 });
    expect(blocked.map((row) => row.run.id)).toEqual([run.runId, run.runId]);
    expect(await store.runs.listBlocked({ limit: 10, after: present(blocked[0]).jobId })).toHaveLength(1);
    expect(await claim(store)).toEqual([]);
    expect(await store.runs.clearBlocks([{ jobId: run.jobId, runId: run.runId, proof: "pid_gone", actor: "stopper" }])).toEqual([true]);
    expect(await store.runs.listBlocked({ limit: 10 })).toEqual([]);
    expect(await store.upkeep.slots()).toMatchObject([{ used: 0 }]);
    expect((await claim(store)).map((next) => next.itemId)).toEqual([item.id]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
