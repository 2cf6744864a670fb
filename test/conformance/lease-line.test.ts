import { expect, test } from "vitest";
import { addMs, seconds } from "../../src/domain/time.ts";
import type { LeaseHolder } from "../../src/store/port/leases.ts";
import type { Store } from "../../src/store/port/store.ts";
import { addItem, claimOne, declareQueues, failure, processOn, startRun } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

const process: LeaseHolder = { kind: "process", process: processOn() };

const ask = (store: Store, ticket: string, overrides: Partial<Parameters<Store["leases"]["acquire"]>[0]> = {}) =>
  store.leases.acquire({
    name: "merge:shop",
    ticket,
    holder: process,
    ttlMs: seconds(60),
    maxHoldMs: seconds(600),
    timeoutAt: addMs(store.now(), seconds(30)),
    ...overrides,
  });

describeStores((open) => {
  test("waiters are served first come, first served, each under a higher fencing number", async () => {
    const { store } = await open();
    const a = await ask(store, "a");
    expect(await ask(store, "b")).toEqual({ kind: "waiting", position: 1 });
    expect(await ask(store, "c")).toEqual({ kind: "waiting", position: 2 });
    expect(await ask(store, "c")).toEqual({ kind: "waiting", position: 2 });
    if (a.kind !== "held") throw new Error("a does not hold it");
    expect(await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" })).toBe(true);
    const b = await ask(store, "b");
    expect(b).toMatchObject({ kind: "held" });
    expect(await ask(store, "c")).toEqual({ kind: "waiting", position: 1 });
    if (b.kind !== "held") throw new Error("b does not hold it");
    expect(b.fencing).toBeGreaterThan(a.fencing);
    expect(await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "late" }), "a's number is old").toBe(
      false,
    );
    expect(await store.leases.renew({ name: "merge:shop", fencing: a.fencing })).toBe(false);
  });

  test("a wait that is over is told, and its place is given up", async () => {
    const { store, clock } = await open();
    const a = await ask(store, "a");
    const timeoutAt = addMs(store.now(), seconds(5));
    await ask(store, "b", { timeoutAt });
    await ask(store, "c");
    clock.advance(seconds(5));
    expect(await ask(store, "b", { timeoutAt })).toEqual({ kind: "timed_out" });
    if (a.kind !== "held") throw new Error("not held");
    await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" });
    expect(await ask(store, "c")).toMatchObject({ kind: "held" });
  });

  test("tidying drops the waiters whose time is over and grants what is free [B-3]", async () => {
    const { store, clock, query } = await open();
    const a = await ask(store, "a");
    await ask(store, "b", { timeoutAt: addMs(store.now(), seconds(5)) });
    await ask(store, "c", { timeoutAt: addMs(store.now(), seconds(500)) });
    expect(await store.leases.tidyWaiters()).toEqual({ dropped: 0, granted: 0 });
    clock.advance(seconds(10));
    // As after a crash between release and grant in another version of the program.
    await query("update leases set state = 'free', granted_at = null, ticket = null, holder_pid = null returning name");
    expect(await store.leases.tidyWaiters()).toEqual({ dropped: 1, granted: 1 });
    expect(await ask(store, "c")).toMatchObject({ kind: "held" });
    expect(a.kind).toBe("held");
  });

  test("who gives up while being granted it passes it on", async () => {
    const { store } = await open();
    const a = await ask(store, "a");
    await ask(store, "b");
    await ask(store, "c");
    if (a.kind !== "held") throw new Error("not held");
    await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" });
    await store.leases.abandon("b");
    expect(await ask(store, "c")).toMatchObject({ kind: "held" });
    await store.leases.abandon("nobody");
  });

  test("a run that ended while it waited is not granted the lease", async () => {
    const { store } = await open();
    await declareQueues(store);
    await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    const a = await ask(store, "a");
    await ask(store, "b", { holder: { kind: "run", runId: run.runId } });
    await ask(store, "c");
    await store.runs.settle([failure(run)]);
    if (a.kind !== "held") throw new Error("not held");
    await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" });
    expect(await ask(store, "c")).toMatchObject({ kind: "held" });
  });
});
