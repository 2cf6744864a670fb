import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { addMs } from "../../src/domain/time.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { ClaimedRun } from "../../src/store/port/runs.ts";
import { lockWaiters, lockWaits } from "../support/lock-waits.ts";
import { createDatabase, storeOptions } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { addItem, claimOne, declareQueues, registerWorker, retried } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";
import { until } from "../support/until.ts";

/** A store on a real server, and another client that starts runs in a transaction which it leaves open. */
async function open() {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const clock = new StoreTestClock();
  const store = await openStore({ url: database.url, clock });
  onTestFinished(() => store.close());
  await declareQueues(store);
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: database.url, options: storeOptions });
    await client.connect();
    onTestFinished(() => client.end());
    return client;
  };
  const [first, other, observer] = [await connect(), await connect(), await connect()];
  return {
    store,
    clock,
    lockRun: async ({ jobId }: ClaimedRun) => {
      await first.query("begin");
      await first.query("select id from live where job_id = $1 for update", [jobId]);
    },
    unlockRun: async () => {
      await first.query("commit");
    },
    /** Writes what the store's own start writes, uncommitted. Of a run that has ended it writes nothing. */
    beginStart: async ({ runId, jobId, visitId }: ClaimedRun) => {
      await other.query("begin");
      await other.query("select id from live where job_id = $1 for update", [jobId]);
      const starting = "update live set state = 'started', started_at = $2 where id = $1 and state = 'reserved'";
      const { rowCount } = await other.query(starting, [runId, clock.now()]);
      if (rowCount === 1) await other.query("update visits set attempts = attempts + 1 where id = $1", [visitId]);
    },
    commitStart: async () => {
      await other.query("commit");
    },
    waiting: async (count: number) => {
      await lockWaits(observer, count);
    },
    waitingOr: async (isOver: () => boolean) => await until(async () => isOver() || (await lockWaiters(observer)) === 1),
  };
}

test("a success that waits for its own run's start counts the attempt once [F-9.11]", async () => {
  const { store, clock, beginStart, commitStart, waiting } = await open();
  await store.jobs.enqueue({ queue: "t", jobs: [{}] });
  const workerId = await registerWorker(store);
  const claim = { claimId: "c", workerId, claimSeq: 1, queues: [{ name: "t", limits: {} }], max: 1, startNow: 0 };
  const run = present((await store.runs.claim(claim))[0]);
  await beginStart(run);
  const { runId, ownerEpoch, jobId } = run;
  const startedAt = addMs(clock.now(), 7);
  const plain = { runId, ownerEpoch, jobId, outcome: "succeeded", reason: "returned" } as const;
  const settling = store.runs.settle([{ ...plain, startedAt }]);
  await waiting(1);
  await commitStart();
  expect(await settling).toMatchObject([{ kind: "ok" }]);
  expect(await store.jobs.get(jobId)).toMatchObject({ state: "done", attempts: 1 });
  expect(await store.runs.get(runId)).toMatchObject({ state: "ended", outcome: "succeeded", startedAt: clock.now() });
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("a failure that waits for its own run's start spends that attempt of its visit", async () => {
  const { store, lockRun, unlockRun, beginStart, commitStart, waiting, waitingOr } = await open();
  const item = await addItem(store, "book", { maxAttempts: 1 });
  const run = await claimOne(store);
  // A settle of an item's run reads it twice: the start comes in between, and the second read waits for it.
  await lockRun(run);
  let isOver = false;
  const settling = store.runs.settle([retried(run)]).finally(() => {
    isOver = true;
  });
  await waiting(1);
  const starting = beginStart(run);
  await waiting(2);
  await unlockRun();
  await starting;
  // Seldom the second read comes first: the run has ended then, and its start wrote nothing.
  await waitingOr(() => isOver);
  await commitStart();
  expect(await settling).toMatchObject([{ kind: "ok" }]);
  expect(await store.items.visits(item.id)).toMatchObject([{ attempts: 1, state: "failed" }]);
  expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "failed", attempts: 1 });
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("a cancel that waits for its run's start gives that attempt back, of its visit too", async () => {
  const { store, beginStart, commitStart, waiting } = await open();
  const item = await addItem(store);
  const run = await claimOne(store);
  await beginStart(run);
  const cancelling = store.jobs.cancel(run.jobId, { actor: "ana", reason: "not needed", stopBy: store.now() });
  await waiting(1);
  await commitStart();
  expect(await cancelling).toMatchObject({ run: { runId: run.runId }, item: { kind: "cancelled" } });
  expect(await store.items.visits(item.id)).toMatchObject([{ attempts: 0 }]);
  expect(await store.jobs.get(run.jobId)).toMatchObject({ state: "cancelled", attempts: 0, blockedBy: run.runId });
  expect(await store.runs.get(run.runId)).toMatchObject({ outcome: "cancelled", spent: "nothing", message: "cancelled: not needed" });
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});
