import { expect, test } from "vitest";
import { processOn } from "../../test/support/store-rows.ts";
import { describeStores } from "../../test/support/stores.ts";
import { seconds } from "../domain/time.ts";
import type { Store } from "../store/port/store.ts";
import { LeaseOperations } from "./leases.ts";

function operationsOn(store: Store) {
  const told: unknown[] = [];
  const operations = new LeaseOperations({ store, emit: (name, data) => void told.push([name, data]) });
  const acquire = (ticket: string, waitMs = 0) =>
    operations.acquire({
      name: "merge",
      ticket,
      holder: { kind: "process", process: processOn() },
      ttlMs: seconds(60),
      maxHoldMs: seconds(600),
      waitMs,
    });
  return { operations, acquire, told };
}

describeStores((open) => {
  test("a lease is reported when it is granted and when it is released, once each", async () => {
    const { store } = await open();
    const { operations, acquire, told } = operationsOn(store);
    const first = await acquire("one");
    if (first.kind !== "held") throw new Error("the lease was free");
    const { fencing } = first;
    await operations.renew({ name: "merge", fencing });
    await operations.release({ name: "merge", fencing, actor: "ana", reason: "released" });
    expect(told).toEqual([
      ["lease.granted", { lease: "merge", fencing }],
      ["lease.released", { lease: "merge", fencing }],
    ]);
    const late = { name: "merge", fencing, actor: "ana", reason: "released" };
    await expect(operations.release(late)).rejects.toMatchObject({ code: "conflict" });
    await expect(operations.renew(late)).rejects.toMatchObject({ code: "conflict" });
    expect(told).toHaveLength(2);
  });

  test("who does not wait leaves no place in line; who waits keeps it until it is given back", async () => {
    const { store } = await open();
    const { operations, acquire, told } = operationsOn(store);
    const first = await acquire("one");
    if (first.kind !== "held") throw new Error("the lease was free");
    const waiters = async () => (await store.leases.list({ limit: 1 }))[0]?.waiters;
    expect([await acquire("hasty"), await waiters()]).toEqual([{ kind: "timed_out" }, 0]);
    expect([await acquire("patient", seconds(60)), await waiters()]).toEqual([{ kind: "waiting", position: 1 }, 1]);
    await operations.abandon("patient");
    expect(await waiters()).toBe(0);
    expect(told).toHaveLength(1);
  });
});
