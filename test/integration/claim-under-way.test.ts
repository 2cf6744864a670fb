import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import type { ItemId, JobId } from "../../src/domain/ids.ts";
import { openStore } from "../../src/store/open-store.ts";
import { lockWaits } from "../support/lock-waits.ts";
import { createDatabase, storeOptions } from "../support/postgres.ts";
import { addItem, claim, declareQueues, farFuture, onlyJobOf, registerWorker } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";

const actor = "ana";

async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, options: storeOptions });
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

/** A store on a real server with one item that waits, and another client that claims its job in a transaction which it leaves open. */
async function open() {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const clock = new StoreTestClock();
  const store = await openStore({ url: database.url, clock });
  onTestFinished(() => store.close());
  await declareQueues(store);
  const [claimer, observer] = [await connectTo(database.url), await connectTo(database.url)];
  const workerId = await registerWorker(store);
  const item = await addItem(store, "book");
  const jobId = await onlyJobOf(store, item.id);
  /** Writes what the store's own claim writes, uncommitted. */
  await claimer.query("begin");
  await claimer.query("update slots set used = used + 1 where key = 'p.prep'");
  await claimer.query("delete from ready where job_id = $1", [jobId]);
  await claimer.query(
    `insert into live (job_id, id, attempt, state, worker_id, kind, reserved_at, check_at, slot_key, item_id)
     values ($1, nextval('run_ids'), 1, 'reserved', $2, 'command', $3, $3, 'p.prep', $4)`,
    [jobId, workerId, clock.now(), item.id],
  );
  return {
    store,
    itemId: item.id,
    jobId,
    other: async (text: string, values: readonly unknown[] = []) => {
      await claimer.query(text, [...values]);
    },
    commit: async () => {
      await claimer.query("commit");
    },
    rollback: async () => {
      await claimer.query("rollback");
    },
    waiting: async () => {
      await lockWaits(observer);
    },
  };
}

test("a claim that is asked again while its first call is under way waits for it, and answers its runs", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const clock = new StoreTestClock();
  const opened = async () => {
    const store = await openStore({ url: database.url, clock });
    onTestFinished(() => store.close());
    return store;
  };
  const [first, second] = [await opened(), await opened()];
  await declareQueues(first);
  const workerId = await registerWorker(first);
  const [head] = await first.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
  const [holder, observer] = [await connectTo(database.url), await connectTo(database.url)];
  // The first call waits where it makes its run, with the job in hand. A second one that did not wait would take the job behind it.
  await holder.query("begin");
  await holder.query(
    `insert into live (job_id, id, attempt, state, kind, reserved_at, check_at) values ($1, nextval('run_ids'), 1, 'reserved', 'handler', 1, 1)`,
    [head],
  );
  const request = { claimId: "c", workerId, claimSeq: 1, queues: [{ name: "t", limits: {} }], max: 1, startNow: 0 };
  const asked = first.runs.claim(request);
  await lockWaits(observer, 1);
  const again = second.runs.claim(request);
  await lockWaits(observer, 2);
  await holder.query("rollback");
  const runs = await asked;
  expect(runs).toHaveLength(1);
  expect(await again).toEqual(runs);
  expect(await first.runs.listHeld({ workerIds: [workerId], limit: 10 })).toHaveLength(1);
  expect(await first.upkeep.checkInvariants()).toEqual([]);
});

interface Subject {
  readonly itemId: ItemId;
  readonly jobId: JobId;
}

test("a pause that meets a claim waits for it and marks the running job; its end leaves it paused", async () => {
  const { store, itemId, jobId, commit, waiting } = await open();
  const pausing = store.items.setPaused(itemId, { paused: true, actor });
  await waiting();
  await commit();
  expect(await pausing).toBe(true);
  expect(await store.jobs.get(jobId)).toMatchObject({ state: "running", paused: true, runCount: 1, attempts: 0 });
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("a hold that meets a claim is refused, for the job runs", async () => {
  const { store, jobId, commit, waiting } = await open();
  const holding = store.jobs.hold(jobId, { actor, reason: "undeclared", message: "its stage is gone" });
  await waiting();
  await commit();
  expect(await holding).toEqual({ kind: "refused", why: `job ${jobId} is running` });
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("a cancel that meets a claim ends the run that the claim has made", async () => {
  const { store, jobId, commit, waiting } = await open();
  const cancelling = store.jobs.cancel(jobId, { actor, reason: "not needed", stopBy: farFuture });
  await waiting();
  await commit();
  expect(await cancelling).toMatchObject({ run: { jobId }, item: { kind: "cancelled" } });
  const job = await store.jobs.get(jobId);
  expect(job).toMatchObject({ state: "cancelled", runCount: 1, currentRunId: null });
  expect(await store.runs.ofJob(jobId)).toMatchObject([{ id: job?.blockedBy, state: "ended", outcome: "cancelled" }]);
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

const verbs: Readonly<Record<string, (store: Awaited<ReturnType<typeof openStore>>, subject: Subject) => Promise<unknown>>> = {
  pause: async (store, { itemId }) => await store.items.setPaused(itemId, { paused: true, actor }),
  hold: async (store, { jobId }) => await store.jobs.hold(jobId, { actor, reason: "undeclared", message: "its stage is gone" }),
  cancel: async (store, { jobId }) => await store.jobs.cancel(jobId, { actor, reason: "not needed", stopBy: farFuture }),
};

test.each(Object.entries(verbs))(
  "a %s that meets a claim which comes to nothing takes the job before any other claim does",
  async (_name, verb) => {
    const { store, itemId, jobId, rollback, waiting } = await open();
    const changing = verb(store, { itemId, jobId });
    await waiting();
    await rollback();
    expect(await changing).not.toBe(false);
    expect(await claim(store)).toEqual([]);
    expect(await store.runs.ofJob(jobId)).toEqual([]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  },
);

test("a claim passes over a job that somebody is changing, and takes the one behind it", async () => {
  const { store, other, rollback } = await open();
  await rollback();
  const [first, second] = await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
  await other("begin");
  await other("select job_id from ready where job_id = $1 for update", [first]);
  expect(await claim(store, { queues: ["t"] })).toMatchObject([{ jobId: second }]);
  await rollback();
  expect(await claim(store, { queues: ["t"] })).toMatchObject([{ jobId: first }]);
});
