import { expect, test } from "vitest";
import type { JobId } from "../../src/domain/ids.ts";
import { claim, declareQueues } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

describeStores((open) => {
  test("ids come back in the order of the jobs, and of the callers of one turn", async () => {
    const { store } = await withQueues(open);
    const batches = await Promise.all(
      Array.from({ length: 20 }, (_, batch) =>
        store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 5 }, (_, index) => ({ payload: `"${batch}.${index}"` })) }),
      ),
    );
    for (const [batch, ids] of batches.entries()) {
      expect(ids).toHaveLength(5);
      for (const [index, id] of ids.entries()) expect((await store.jobs.get(id))?.payload).toBe(`"${batch}.${index}"`);
    }
  });

  test("groups that differ in anything but their payloads are kept apart", async () => {
    const { store } = await withQueues(open);
    const [plain, urgent, patient, owned] = await Promise.all([
      store.jobs.enqueue({ queue: "t", jobs: [{}] }),
      store.jobs.enqueue({ queue: "t", priority: -5, jobs: [{}] }),
      store.jobs.enqueue({ queue: "t", maxAttempts: 9, maxLosses: 4, delayMs: 1000, jobs: [{}] }),
      store.jobs.enqueue({ queue: "p/ocr", agent: "a", repo: "r", jobs: [{ payload: '{"text":"ça \\u0001 \\"q\\""}' }] }),
    ]);
    const row = async (ids: readonly JobId[]) => await store.jobs.get(ids[0] as JobId);
    expect(await row(plain)).toMatchObject({ priority: 0, maxAttempts: 2, maxLosses: null, state: "queued", payload: null });
    expect(await row(urgent)).toMatchObject({ priority: -5 });
    expect(await row(patient)).toMatchObject({ maxAttempts: 9, maxLosses: 4, state: "scheduled", runAt: store.now() + 1000 });
    expect(await row(owned)).toMatchObject({ queue: "p/ocr", agent: "a", repo: "r", payload: '{"text":"ça \\u0001 \\"q\\""}' });
  });

  test("the same enqueue id answers the row that it made the first time, in one call, later, and from many callers at once", async () => {
    const { store } = await withQueues(open);
    const [first, twin, other] = await store.jobs.enqueue({
      queue: "t",
      jobs: [{ enqueueId: "a", payload: "1" }, { enqueueId: "a", payload: "2" }, { payload: "3" }],
    });
    expect(twin).toBe(first);
    expect(other).not.toBe(first);
    const again = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: "b" }, { enqueueId: "a", payload: `${index}` }] }),
      ),
    );
    expect(new Set(again.map(([b]) => b)).size).toBe(1);
    expect(new Set(again.map(([, a]) => a))).toEqual(new Set([first]));
    expect(await claim(store)).toHaveLength(3);
  });

  test("an unknown queue or a number out of bounds is refused by itself, and the others of its turn are stored", async () => {
    const { store } = await withQueues(open);
    const [good, unknown, low, tooUrgent, never] = await Promise.allSettled([
      store.jobs.enqueue({ queue: "t", jobs: [{}] }),
      store.jobs.enqueue({ queue: "nobody", jobs: [{}] }),
      store.jobs.enqueue({ queue: "t", maxAttempts: 0, jobs: [{}] }),
      store.jobs.enqueue({ queue: "t", priority: 40_000, jobs: [{}] }),
      store.jobs.enqueue({ queue: "t", delayMs: -1, jobs: [{}] }),
    ]);
    expect(good).toMatchObject({ status: "fulfilled" });
    expect(unknown).toMatchObject({ status: "rejected", reason: { code: "not_found" } });
    for (const refused of [low, tooUrgent, never]) expect(refused).toMatchObject({ status: "rejected", reason: { code: "bad_request" } });
    expect(await claim(store)).toHaveLength(1);
  });

  test("an empty group makes no job and answers no id", async () => {
    const { store } = await withQueues(open);
    expect(await store.jobs.enqueue({ queue: "t", jobs: [] })).toEqual([]);
  });

  test("a delayed job is claimable once its time has come and it was promoted, not before", async () => {
    const { store, clock } = await withQueues(open);
    await store.jobs.enqueue({ queue: "t", delayMs: 2000, jobs: [{}, {}] });
    await store.jobs.enqueue({ queue: "t", delayMs: 5000, jobs: [{}] });
    const begin = store.now();
    expect(await store.jobs.promoteDue(10)).toEqual({ moved: 0, nextDueAt: begin + 2000 });
    clock.advance(2000);
    expect(await store.jobs.promoteDue(1)).toEqual({ moved: 1, nextDueAt: begin + 2000 });
    expect(await store.jobs.promoteDue(10)).toEqual({ moved: 1, nextDueAt: begin + 5000 });
    expect(await claim(store)).toHaveLength(2);
    clock.advance(3000);
    expect(await store.jobs.promoteDue(10)).toEqual({ moved: 1, nextDueAt: undefined });
    expect(await claim(store)).toHaveLength(1);
  });

  test("what was asked before a close is stored; what comes after is refused as unavailable", async () => {
    const { store, openAgain } = await withQueues(open);
    const asked = Promise.all(Array.from({ length: 50 }, () => store.jobs.enqueue({ queue: "t", jobs: [{}] })));
    const closed = store.close();
    expect(await asked).toHaveLength(50);
    await closed;
    await expect(store.jobs.enqueue({ queue: "t", jobs: [{}] })).rejects.toMatchObject({ code: "unavailable" });
    const next = await openAgain();
    expect(await claim(next, { max: 100 })).toHaveLength(50);
  });
});
