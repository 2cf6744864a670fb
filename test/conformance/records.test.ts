import { expect, test } from "vitest";
import type { ItemId, JobId } from "../../src/domain/ids.ts";
import { addMs, seconds } from "../../src/domain/time.ts";
import { addItem, declareQueues } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

const job = 7 as JobId;

describeStores((open) => {
  test("actions are listed newest first, or onwards from one that was seen", async () => {
    const { store, clock } = await open();
    for (const reason of ["one", "two", "three"]) {
      await store.actions.append([{ action: "job.noted", actor: "test", reason, jobId: job, evidence: '{"n":1}', correlationId: "c1" }]);
      clock.advance(seconds(1));
    }
    await store.actions.append([{ action: "job.noted", actor: "test", reason: "other", itemId: 9 as ItemId }]);
    await store.actions.append([]);
    const reasons = (rows: readonly { readonly reason: string | null }[]) => rows.map((row) => row.reason);
    const newest = await store.actions.list({ jobId: job, limit: 2 });
    expect(reasons(newest)).toEqual(["three", "two"]);
    expect(newest[0]).toEqual({
      id: expect.any(Number),
      at: addMs(store.now(), -seconds(1)),
      action: "job.noted",
      actor: "test",
      reason: "three",
      message: null,
      evidence: '{"n":1}',
      jobId: job,
      runId: null,
      itemId: null,
      workerId: null,
      lease: null,
      correlationId: "c1",
    });
    expect(reasons(await store.actions.list({ jobId: job, before: newest[1]?.id ?? 0, limit: 9 }))).toEqual(["one"]);
    expect(reasons(await store.actions.list({ after: newest[1]?.id ?? 0, limit: 9 }))).toEqual(["three", "other"]);
  });

  test("the same outbox key again raises the revision, and a delivery of the older one does not take it away", async () => {
    const { store } = await open();
    await store.outbox.put({ kind: "state-file", key: "1", payload: "old" });
    const [read] = await store.outbox.due(10);
    await store.outbox.put({ kind: "state-file", key: "1", payload: "new" });
    await store.outbox.done({ id: read?.id ?? 0, revision: read?.revision ?? 0 });
    const [newer] = await store.outbox.due(10);
    expect(newer).toMatchObject({ payload: "new", revision: 2 });
    expect(await store.outbox.depth()).toBe(1);
    await store.outbox.done({ id: newer?.id ?? 0, revision: 2 });
    expect(await store.outbox.depth()).toBe(0);
  });

  test("a failed delivery waits for its time; a dead letter waits for its next cause", async () => {
    const { store, clock } = await open();
    await store.outbox.put({ kind: "alert", key: "cause", payload: "1" });
    const [entry] = await store.outbox.due(10);
    const id = entry?.id ?? 0;
    await store.outbox.failed({ id, error: "503", dueAt: addMs(store.now(), seconds(10)), dead: false });
    expect(await store.outbox.due(10)).toEqual([]);
    await store.outbox.put({ kind: "alert", key: "cause", payload: "2" });
    expect(await store.outbox.due(10), "written again it keeps its place in the backoff").toEqual([]);
    clock.advance(seconds(10));
    expect(await store.outbox.due(10)).toMatchObject([{ id, attempts: 1, lastError: "503", payload: "2" }]);
    await store.outbox.failed({ id, error: "410", dueAt: store.now(), dead: true });
    expect(await store.outbox.due(10)).toEqual([]);
    expect(await store.outbox.listDead(10)).toMatchObject([{ id, attempts: 2, lastError: "410" }]);
    await store.outbox.put({ kind: "alert", key: "cause", payload: "3" });
    expect(await store.outbox.due(10)).toMatchObject([{ id, attempts: 0, payload: "3" }]);
  });

  test("only duplicates whose decision was carried out are removed, the oldest first and a page at a time", async () => {
    const { store, clock } = await open();
    const item = { pipeline: "p", key: "k", existingItemId: 1 as ItemId, sizeBytes: 1 };
    const ids: number[] = [];
    for (const fileName of ["waits", "decided", "first", "second"])
      ids.push(await store.duplicates.add({ ...item, fileName, path: `held/${fileName}` }));
    const [waits = 0, decided = 0, first = 0, second = 0] = ids;
    for (const id of [decided, first, second]) await store.duplicates.decide(id, "discard", "ana");
    await store.duplicates.finish(second);
    clock.advance(1);
    await store.duplicates.finish(first);
    expect(await store.duplicates.removeDone({ doneBefore: addMs(clock.now(), -1), limit: 10 }), "as old as the limit").toBe(0);
    const doneBefore = clock.advance(1);
    expect(await store.duplicates.removeDone({ doneBefore, limit: 1 })).toBe(1);
    expect((await store.duplicates.list(10)).map(({ id }) => id)).toEqual([first, decided, waits]);
    expect(await store.duplicates.removeDone({ doneBefore, limit: 10 })).toBe(1);
    expect(await store.duplicates.removeDone({ doneBefore, limit: 10 })).toBe(0);
    expect((await store.duplicates.list(10)).map(({ id }) => id)).toEqual([decided, waits]);
  });

  test("a duplicate is decided once, carried out once, and the same file is kept once", async () => {
    const { store } = await open();
    await declareQueues(store);
    const item = await addItem(store);
    const found = {
      pipeline: "p",
      key: item.key,
      existingItemId: item.id,
      fileName: "b.cbz",
      path: "duplicates/b.cbz",
      sizeBytes: 5_000_000_000,
    };
    const id = await store.duplicates.add(found);
    expect(await store.duplicates.add(found)).toBe(id);
    expect(await store.duplicates.get(id)).toMatchObject({ ...found, id, decision: null, decidedAt: null, doneAt: null });
    expect(await store.duplicates.get(id + 1)).toBeUndefined();
    expect(await store.duplicates.listDecided()).toEqual([]);
    expect(await store.duplicates.finish(id), "nobody has decided").toBe(false);
    const answers = await Promise.all([store.duplicates.decide(id, "discard", "ana"), store.duplicates.decide(id, "reprocess", "ben")]);
    expect(answers.sort()).toEqual([false, true]);
    expect(await store.duplicates.listDecided()).toMatchObject([{ ...found, id, doneAt: null, decidedAt: store.now() }]);
    expect(await store.duplicates.finish(id)).toBe(true);
    expect(await store.duplicates.finish(id)).toBe(false);
    expect(await store.duplicates.listDecided()).toEqual([]);
    expect(await store.duplicates.list(10)).toMatchObject([{ id, doneAt: store.now() }]);
  });

  test("a commit is hinted to listeners of this process, and to those of others where the engine tells", async () => {
    const { store, openAgain } = await open();
    const other = store.capabilities.notifies ? await openAgain() : store;
    const heard = new Promise<string>((resolve) => other.onHint(resolve));
    await store.outbox.put({ kind: "alert", key: "cause", payload: "1" });
    expect(await heard).toBe("outbox");
  });
});
