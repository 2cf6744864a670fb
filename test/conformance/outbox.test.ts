import { expect, test } from "vitest";
import { addMs, seconds } from "../../src/domain/time.ts";
import { describeStores } from "../support/stores.ts";

describeStores((open) => {
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
});
