import { expect, test } from "vitest";
import type { RunId } from "../../src/domain/ids.ts";
import { firstIdOfEpoch } from "../../src/domain/ids.ts";
import { addMs, seconds } from "../../src/domain/time.ts";
import { asker, askLease } from "../support/ask-lease.ts";
import { addItem, claimOne, declareQueues, failure, farFuture, processOn, startRun } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

describeStores((open) => {
  test("a free lease is held at once, and the same ticket again gets the same answer", async () => {
    const { store } = await open();
    const first = await askLease(store, "a");
    expect(first).toEqual({ kind: "held", fencing: expect.any(Number) });
    expect(await askLease(store, "a")).toEqual(first);
    expect(await store.leases.list({ limit: 10 })).toMatchObject([
      {
        name: "merge:shop",
        state: "held",
        holder: asker,
        grantedAt: store.now(),
        expiresAt: addMs(store.now(), seconds(60)),
        waiters: 0,
      },
    ]);
  });

  test("of many that ask at once exactly one holds it", async () => {
    const { store, openAgain } = await open();
    const other = store.capabilities.manyWriters ? await openAgain() : store;
    const answers = await Promise.all(
      ["a", "b", "c", "d", "e", "f"].map((ticket, index) => askLease(index % 2 === 0 ? store : other, ticket)),
    );
    expect(answers.filter((answer) => answer.kind === "held")).toHaveLength(1);
    const positions = answers.flatMap((answer) => (answer.kind === "waiting" ? [answer.position] : []));
    expect(new Set(positions).size, "everyone else stands in a place of his own").toBe(5);
  });

  test("a renewal moves the end on by the TTL and forgets the alert", async () => {
    const { store, clock } = await open();
    const held = await askLease(store, "a");
    if (held.kind !== "held") throw new Error("not held");
    const fencing = held.fencing;
    clock.advance(seconds(61));
    expect(await store.leases.markAlerted({ name: "merge:shop", fencing })).toBe(true);
    expect(await store.leases.markAlerted({ name: "merge:shop", fencing }), "one alert").toBe(false);
    expect(await store.leases.renew({ name: "merge:shop", fencing })).toBe(true);
    expect(await store.leases.listHeld({ limit: 10 })).toMatchObject([{ alertedAt: null, expiresAt: addMs(store.now(), seconds(60)) }]);
  });

  test("a lease held by a run comes with what its judge asks: the run's state, its process, whether it is being stopped", async () => {
    const { store } = await open();
    await declareQueues(store);
    await addItem(store);
    const run = await claimOne(store);
    await startRun(store, run);
    await askLease(store, "a", { holder: { kind: "run", runId: run.runId } });
    const [live] = await store.leases.listHeld({ limit: 10 });
    expect(live).toMatchObject({
      holder: { kind: "run", runId: run.runId },
      run: { state: "started", process: processOn(), blocked: false, supervisor: { state: "live" } },
    });
    await store.runs.settle([failure(run, { stopBy: farFuture })]);
    expect(await store.leases.listHeld({ limit: 10 })).toMatchObject([{ run: { state: "ended", blocked: true } }]);
    expect(await store.leases.listHeld({ limit: 10, scope: [] })).toEqual([]);
    expect(await store.leases.listHeld({ limit: 10, scope: ["merge:shop"] })).toHaveLength(1);
  });

  test("fencing numbers begin anew above every old one when the store epoch rises", async () => {
    const { store } = await open();
    const a = await askLease(store, "a");
    if (a.kind !== "held") throw new Error("not held");
    await store.leases.release({ name: "merge:shop", fencing: a.fencing, actor: "a", reason: "done" });
    await store.upkeep.raiseEpoch("restored");
    expect(await askLease(store, "b", { holder: { kind: "run", runId: 5 as RunId } })).toEqual({
      kind: "held",
      fencing: firstIdOfEpoch(1) + 1,
    });
  });
});
