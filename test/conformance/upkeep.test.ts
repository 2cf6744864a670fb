import { statSync } from "node:fs";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { asHostId, asRunId, firstIdOfEpoch } from "../../src/domain/ids.ts";
import { hours } from "../../src/domain/time.ts";
import { addItem, claim, claimOne, declareQueues, processOn, registerWorker, startRun, success } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";
import { until } from "../support/until.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

describeStores((open, engine) => {
  test("a paused queue is not claimed from until it is resumed", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    expect(await store.upkeep.setQueuePaused({ queues: "all", paused: true, actor: "ana" })).toBe(3);
    expect(await store.upkeep.setQueuePaused({ queues: ["t"], paused: true, actor: "ana" }), "it is already").toBe(0);
    expect(await store.upkeep.pausedQueues()).toEqual(["p/ocr", "p/prep", "t"]);
    expect(await claim(store)).toEqual([]);
    await store.upkeep.setQueuePaused({ queues: ["t"], paused: false, actor: "ana" });
    expect(await claim(store)).toHaveLength(1);
    expect(await store.upkeep.setQueuePaused({ queues: [], paused: false, actor: "ana" })).toBe(0);
  });

  test("a slot that lost count is set to the runs that hold it", async () => {
    const { store, query } = await withQueues(open);
    await addItem(store, "a");
    await claimOne(store);
    expect(await store.upkeep.recountSlots()).toEqual([]);
    await query("update slots set used = 2 returning key");
    expect(await store.upkeep.checkInvariants()).toMatchObject([{ rule: "a slot counts the runs that hold it", subject: "slot p.prep" }]);
    expect(await store.upkeep.recountSlots()).toEqual(["p.prep"]);
    expect(await store.upkeep.slots()).toEqual([{ key: "p.prep", capacity: 2, used: 1 }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("the store's start counter tells a restore from an ordinary start", async () => {
    const { store } = await withQueues(open);
    expect(await store.upkeep.recordStart(undefined)).toEqual({ startSeq: 1, epochRaised: false });
    expect(await store.upkeep.recordStart(1)).toEqual({ startSeq: 2, epochRaised: false });
    expect(await store.upkeep.recordStart(1), "a crash between the commit and the file").toEqual({ startSeq: 3, epochRaised: false });
    expect(await store.upkeep.recordStart(7), "the file is ahead: the store is an old copy").toEqual({ startSeq: 8, epochRaised: true });
    expect(await store.upkeep.storeEpoch()).toBe(1);
    const lostFile = await store.upkeep.recordStart(undefined);
    expect(lostFile).toEqual({ startSeq: 9, epochRaised: !store.capabilities.manyWriters });
  });

  test("a store has one id for good, whoever asks first, and no doubt of its clock on a machine that stands still", async () => {
    const { store, openAgain } = await open();
    const doubts: unknown[] = [];
    const stop = store.onClockDoubt((doubt) => void doubts.push(doubt));
    const [id] = await Promise.all([store.upkeep.identify("one"), store.upkeep.identify("two")]);
    expect(["one", "two"]).toContain(id);
    expect(await store.upkeep.identify("three")).toBe(id);
    expect(doubts).toEqual([]);
    stop();
    await store.close();
    expect(await (await openAgain()).upkeep.identify("four")).toBe(id);
  });

  test("a daemon of a host was last heard when its own commands' session was, whatever others did since", async () => {
    const { store, clock } = await withQueues(open);
    expect(await store.upkeep.daemonHeardAt(asHostId("a"))).toBeUndefined();
    const workerId = await registerWorker(store, "a", processOn("a"));
    clock.advance(5_000);
    await store.workers.renew({ workerId, held: [], claimSeqReceived: 0 });
    const heardAt = store.now();
    clock.advance(3_600_000);
    await registerWorker(store, "b", processOn("b"));
    await store.workers.register({ name: "app", kind: "handler", process: processOn("a"), concurrency: 1, queues: ["t"] });
    expect(await store.upkeep.daemonHeardAt(asHostId("a"))).toBe(heardAt);
    expect(await store.upkeep.daemonHeardAt(asHostId("b"))).toBe(store.now());
  });

  test("after a raise of the epoch no run id of the old one is given out", async () => {
    const { store } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    const before = await claimOne(store);
    expect(before.runId).toBeLessThan(firstIdOfEpoch(1));
    const raised = await Promise.all([store.upkeep.raiseEpoch("restored"), store.upkeep.raiseEpoch("promoted")]);
    expect(raised.toSorted((a, b) => a - b)).toEqual([1, 2]);
    const after = await claimOne(store);
    expect(after.runId).toBeGreaterThan(firstIdOfEpoch(2));
    expect(after.runId).toBeLessThan(asRunId(firstIdOfEpoch(3)));
  });

  test("run ids are not given out again after retention and a new opening", async () => {
    const { store, clock, openAgain } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    const first = await claimOne(store);
    await store.runs.settle([success(first)]);
    await store.upkeep.prune({ hostId: asHostId("host-a"), finishedBefore: clock.advance(1), limit: 10 });
    await store.close();
    const second = await claimOne(await openAgain());
    expect(second.runId).toBeGreaterThan(first.runId);
  });

  test("the clock is told the newest instant that the store holds", async () => {
    const { store, clock, openAgain } = await withQueues(open);
    expect(await store.upkeep.newestInstant()).toBeUndefined();
    await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const newest = clock.advance(hours(2));
    await registerWorker(store);
    expect(await store.upkeep.newestInstant()).toBe(newest);
    await store.close();
    const floors: number[] = [];
    await openAgain({ clock: { now: () => clock.now(), floor: (instant) => floors.push(instant) } });
    expect(floors).toEqual([newest]);
  });

  test("settings are kept and replaced", async () => {
    const { store } = await open();
    expect(await store.upkeep.setting("theme")).toBeUndefined();
    await store.upkeep.putSetting("theme", "dark");
    await store.upkeep.putSetting("theme", "light");
    expect(await store.upkeep.setting("theme")).toBe("light");
    expect(await store.upkeep.setting("store_epoch"), "the store's own numbers are not settings").toBeUndefined();
    expect(await store.upkeep.sizeBytes()).toBeGreaterThan(10_000);
  });

  test("what is kept for readers of an old state: the length of a log, or whose transactions hold back vacuum", async () => {
    const { store, url } = await withQueues(open);
    const kept = await store.upkeep.keptForReaders();
    if (engine === "sqlite") {
      expect(kept).toMatchObject({ log: { bytes: statSync(`${url}-wal`).size, held: false }, transactions: [] });
      return;
    }
    expect(kept.log).toBeNull();
    // A statement that another session makes just now keeps rows for a moment.
    const othersAreGone = async (): Promise<boolean> => (await store.upkeep.keptForReaders()).transactions.length === 0;
    await until(othersAreGone);
    const client = new pg.Client({ connectionString: url, application_name: "reports" });
    await client.connect();
    onTestFinished(() => client.end());
    await client.query("begin; select txid_current()");
    await store.upkeep.putSetting("one", "transaction");
    expect((await store.upkeep.keptForReaders()).transactions).toContainEqual(
      expect.objectContaining({
        kind: "session",
        name: "reports",
        state: "idle in transaction",
        catalogOnly: false,
        transactions: expect.toSatisfy((n: number) => n >= 2),
      }),
    );
    await client.query("rollback");
    await until(othersAreGone);
  });

  test("what runs when the store is opened again is still there, claimed and counted [A-G4]", async () => {
    const { store, openAgain } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await store.close();
    const again = await openAgain();
    expect(await again.runs.listAllLive({ limit: 10 })).toMatchObject([
      { id: run.runId, jobId: run.jobId, state: "started", itemId: item.id, attempts: 1 },
    ]);
    expect(await again.jobs.get(run.jobId)).toMatchObject({ state: "running", currentRunId: run.runId });
    expect(await again.upkeep.checkInvariants()).toEqual([]);
    await again.runs.settle([success(run, { advance: { kind: "finish" } })]);
    expect(await again.items.get(item.id)).toMatchObject({ state: "done" });
  });
});
