import { expect, test } from "vitest";
import { addMs, seconds } from "../../src/domain/time.ts";
import { askLease } from "../support/ask-lease.ts";
import { addItem, claimOne, declareQueues, failure, startRun } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

describeStores((open) => {
  test("waiters are served first come, first served, each under a higher fencing number", async () => {
    const { store } = await open();
    const a = await askLease(store, "a");
    expect(await askLease(store, "b")).toEqual({ kind: "waiting", position: 1 });
    expect(await askLease(store, "c")).toEqual({ kind: "waiting", position: 2 });
    expect(await askLease(store, "c")).toEqual({ kind: "waiting", position: 2 });
    if (a.kind !== "held") throw new Error("a does not hold it");
    expect(await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" })).toBe(true);
    const b = await askLease(store, "b");
    expect(b).toMatchObject({ kind: "held" });
    expect(await askLease(store, "c")).toEqual({ kind: "waiting", position: 1 });
    if (b.kind !== "held") throw new Error("b does not hold it");
    expect(b.fencing).toBeGreaterThan(a.fencing);
    expect(await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "late" }), "a's number is old").toBe(
      false,
    );
    expect(await store.leases.renew({ name: "merge:shop", fencing: a.fencing })).toBe(false);
  });

  test("a wait that is over is told, and its place is given up", async () => {
    const { store, clock } = await open();
    const a = await askLease(store, "a");
    const timeoutAt = addMs(store.now(), seconds(5));
    await askLease(store, "b", { timeoutAt });
    await askLease(store, "c");
    clock.advance(seconds(5));
    expect(await askLease(store, "b", { timeoutAt })).toEqual({ kind: "timed_out" });
    if (a.kind !== "held") throw new Error("not held");
    await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" });
    expect(await askLease(store, "c")).toMatchObject({ kind: "held" });
  });

  test("tidying drops the waiters whose time is over and grants what is free [B-3]", async () => {
    const { store, clock, query } = await open();
    const a = await askLease(store, "a");
    await askLease(store, "b", { timeoutAt: addMs(store.now(), seconds(5)) });
    await askLease(store, "c", { timeoutAt: addMs(store.now(), seconds(500)) });
    expect(await store.leases.tidyWaiters()).toEqual({ dropped: 0, granted: 0 });
    clock.advance(seconds(10));
    // As after a crash between release and grant in another version of the program.
    await query("update leases set state = 'free', granted_at = null, ticket = null, holder_pid = null returning name");
    expect(await store.leases.tidyWaiters()).toEqual({ dropped: 1, granted: 1 });
    expect(await askLease(store, "c")).toMatchObject({ kind: "held" });
    expect(a.kind).toBe("held");
  });

  test("who gives up while being granted it passes it on", async () => {
    const { store } = await open();
    const a = await askLease(store, "a");
    await askLease(store, "b");
    await askLease(store, "c");
    if (a.kind !== "held") throw new Error("not held");
    await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" });
    await store.leases.abandon("b");
    expect(await askLease(store, "c")).toMatchObject({ kind: "held" });
    await store.leases.abandon("nobody");
  });

  test("a run that ended while it waited is not granted the lease", async () => {
    const { store } = await open();
    await declareQueues(store);
    await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    const a = await askLease(store, "a");
    await askLease(store, "b", { holder: { kind: "run", runId: run.runId } });
    await askLease(store, "c");
    await store.runs.settle([failure(run)]);
    if (a.kind !== "held") throw new Error("not held");
    await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" });
    expect(await askLease(store, "c")).toMatchObject({ kind: "held" });
  });
});
