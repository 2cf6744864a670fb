import { expect, test } from "vitest";
import { asHostId } from "../../src/domain/ids.ts";
import { addMs, minutes, seconds } from "../../src/domain/time.ts";
import { OutboxLoop } from "../../src/loops/outbox.ts";
import type { Deliverer } from "../../src/notify/deliverer.ts";
import type { OutboxRow } from "../../src/store/port/records.ts";
import type { Store } from "../../src/store/port/store.ts";
import { present } from "../support/present.ts";
import { addItem, declareQueues } from "../support/store-rows.ts";
import { describeStores, type StoreTestClock } from "../support/stores.ts";

const [hostA, hostB] = [asHostId("host-a"), asHostId("host-b")];

/** The deliveries of one daemon of several. */
function delivererOf(store: Store, clock: StoreTestClock, hostId = hostA, deliver: Deliverer["deliver"] = async () => undefined) {
  const seen: string[] = [];
  const loop = new OutboxLoop({
    outbox: store.outbox,
    hostId,
    now: () => clock.now(),
    deliverers: (["alert", "state-file"] as const).map((kind) => ({
      kind,
      deliver: async (entry, signal) => {
        seen.push(entry.key);
        await deliver(entry, signal);
      },
    })),
    alert: async () => true,
    random: () => 0,
    limits: { deliveryTimeoutMs: 20 },
  });
  const signal = new AbortController().signal;
  const tick = async () => await loop.tick({ now: clock.now(), signal, enabled: true, dryRun: false, emit: () => undefined });
  return { seen, tick };
}

const never = async (): Promise<void> => await new Promise<never>(() => undefined);

describeStores((open, engine) => {
  const firstDue = async (store: Store): Promise<OutboxRow> => present((await store.outbox.due(10))[0]);

  test("the same outbox key again raises the revision, and a delivery of the older one does not take it away", async () => {
    const { store } = await open();
    await store.outbox.put({ kind: "state-file", key: "1", payload: "old" });
    const read = await firstDue(store);
    await store.outbox.put({ kind: "state-file", key: "1", payload: "new" });
    expect(await store.outbox.done(read)).toBe(true);
    const newer = await firstDue(store);
    expect(newer).toMatchObject({ payload: "new", revision: 2 });
    expect(await store.outbox.depth()).toBe(1);
    await store.outbox.done(newer);
    expect(await store.outbox.depth()).toBe(0);
  });

  test("a failed delivery waits for its time; a dead letter waits for its next cause", async () => {
    const { store, clock } = await open();
    await store.outbox.put({ kind: "alert", key: "cause", payload: "1" });
    const { id, claimFence } = await firstDue(store);
    await store.outbox.failed({ id, claimFence, error: "503", dueAt: addMs(store.now(), seconds(10)), dead: false });
    expect(await store.outbox.due(10)).toEqual([]);
    await store.outbox.put({ kind: "alert", key: "cause", payload: "2" });
    expect(await store.outbox.due(10), "written again it keeps its place in the backoff").toEqual([]);
    clock.advance(seconds(10));
    expect(await store.outbox.due(10)).toMatchObject([{ id, attempts: 1, lastError: "503", payload: "2" }]);
    await store.outbox.failed({ id, claimFence, error: "410", dueAt: store.now(), dead: true });
    expect(await store.outbox.due(10)).toEqual([]);
    expect(await store.outbox.listDead(10)).toMatchObject([{ id, attempts: 2, lastError: "410" }]);
    await store.outbox.put({ kind: "alert", key: "cause", payload: "3" });
    expect(await store.outbox.due(10)).toMatchObject([{ id, attempts: 0, payload: "3" }]);
  });

  test("two daemons that look at once deliver each alert once [F-9.12]", async () => {
    const { store, clock, openAgain } = await open();
    for (let n = 0; n < 40; n += 1) await store.outbox.put({ kind: "alert", key: `alert-${n}`, payload: "{}" });
    const a = delivererOf(store, clock, hostA);
    const b = delivererOf(await openAgain(), clock, hostB);
    // Two openings of one file in one process would wait for each other for ever.
    if (engine === "postgres") await Promise.all([a.tick(), b.tick(), a.tick(), b.tick()]);
    else for (const each of [a, b, a]) await each.tick();
    const delivered = [...a.seen, ...b.seen];
    expect(delivered).toHaveLength(40);
    expect(new Set(delivered).size).toBe(40);
    expect(await store.outbox.depth()).toBe(0);
  });

  test("what a daemon was delivering when it died is delivered by another once its claim has run out [F-9.12]", async () => {
    const { store, clock } = await open();
    await store.outbox.put({ kind: "alert", key: "one", payload: "{}" });
    const dead = delivererOf(store, clock, hostA, never);
    await dead.tick();
    // It ticks no more.
    const b = delivererOf(store, clock, hostB);
    clock.advance(seconds(29));
    await b.tick();
    expect(b.seen).toEqual([]);
    clock.advance(seconds(1));
    await b.tick();
    expect(b.seen).toEqual(["one"]);
    expect(await store.outbox.depth()).toBe(0);
  });

  test("what a living daemon delivers slowly is not taken from it, however long that takes [F-9.12]", async () => {
    const { store, clock } = await open();
    await store.outbox.put({ kind: "alert", key: "one", payload: "{}" });
    const slow = delivererOf(store, clock, hostA, never);
    const b = delivererOf(store, clock, hostB);
    await slow.tick();
    for (let second = 0; second < 120; second += 1) {
      clock.advance(seconds(1));
      await slow.tick();
      await b.tick();
    }
    expect([slow.seen, b.seen]).toEqual([["one"], []]);
  });

  test("whoever has lost its claim writes nothing: neither an end nor a failure [F-9.12]", async () => {
    const { store, clock } = await open();
    await store.outbox.put({ kind: "alert", key: "one", payload: "{}" });
    const take = async (hostId: typeof hostA): Promise<OutboxRow> =>
      present((await store.outbox.claim({ hostId, entries: await store.outbox.dueFor({ hostId, limit: 10 }) }))[0]);
    const lost = await take(hostA);
    clock.advance(seconds(30));
    const won = await take(hostB);
    expect(await store.outbox.prolong([lost])).toEqual([]);
    expect(await store.outbox.failed({ ...lost, error: "503", dueAt: addMs(store.now(), minutes(1)), dead: false })).toBe(false);
    expect(await store.outbox.done(lost)).toBe(false);
    await store.outbox.letGo(lost);
    expect(await store.outbox.prolong([won])).toEqual([won.id]);
    expect(await store.outbox.depth()).toBe(1);
    expect(await store.outbox.done(won)).toBe(true);
    expect(await store.outbox.depth()).toBe(0);
  });

  test("a daemon that stops gives back what it has claimed, at once and nothing else [F-9.12]", async () => {
    const { store, clock } = await open();
    for (const key of ["one", "two"]) await store.outbox.put({ kind: "alert", key, payload: "{}" });
    const [one, two] = await store.outbox.due(10);
    await store.outbox.claim({ hostId: hostA, entries: [present(one)] });
    await store.outbox.claim({ hostId: hostB, entries: [present(two)] });
    await store.outbox.release(hostA);
    const c = delivererOf(store, clock, asHostId("host-c"));
    await c.tick();
    expect(c.seen).toEqual(["one"]);
  });

  test("the state file of an item is delivered by the host that holds the work directory, and by no other [F-9.12]", async () => {
    const { store, clock } = await open();
    await declareQueues(store);
    const item = await addItem(store, "book", {}, hostB);
    await store.items.setPaused(item.id, { paused: true, actor: "test" });
    const a = delivererOf(store, clock, hostA);
    const b = delivererOf(store, clock, hostB);
    await a.tick();
    expect(a.seen).toEqual([]);
    await b.tick();
    expect(b.seen).toEqual([String(item.id)]);
  });
});
