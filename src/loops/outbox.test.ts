import { rmSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { makeFifo } from "../../test/support/fifo.ts";
import { type LoopWorld, loopWorld } from "../../test/support/loop-world.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { until } from "../../test/support/until.ts";
import { asHostId } from "../domain/ids.ts";
import { alertsFile, createAlertDeliverer } from "../notify/alerts.ts";
import type { Deliverer } from "../notify/deliverer.ts";
import { alertsThrough } from "../notify/raise-alert.ts";
import type { OutboxRow } from "../store/port/records.ts";
import type { Emit } from "../telemetry/events.ts";
import { deliveriesMax, type OutboxDeps, OutboxLoop, redeliveryDelayMs } from "./outbox.ts";
import type { Loop } from "./skeleton/loop.ts";

const here = asHostId("host-a");

function loopOver(world: LoopWorld, deliver: Deliverer["deliver"], overrides: Partial<OutboxDeps> = {}): Loop {
  return new OutboxLoop({
    outbox: world.store.outbox,
    hostId: here,
    now: () => world.clock.now(),
    deliverers: [{ kind: "alert", deliver }],
    alert: async () => true,
    random: () => 1,
    ...overrides,
  });
}

const put = async (world: LoopWorld, key: string, payload = "{}"): Promise<void> =>
  await world.store.outbox.put({ kind: "alert", key, payload });

test("every due entry is delivered once and goes", async () => {
  const world = await loopWorld();
  await put(world, "a");
  await put(world, "b");
  const delivered: string[] = [];
  const loop = loopOver(world, async ({ key }) => {
    delivered.push(key);
  });
  expect(await world.tick(loop)).toMatchObject({ seen: 2, settled: 2, failed: 0 });
  await world.tick(loop);
  expect(delivered.toSorted()).toEqual(["a", "b"]);
  expect(await world.store.outbox.depth()).toBe(0);
});

test("a failed delivery is tried again later and later, and given up after ten with an event", async () => {
  const world = await loopWorld();
  await put(world, "a");
  const triedAt: number[] = [];
  const loop = loopOver(world, async () => {
    triedAt.push(world.clock.now());
    throw new Error("receiver is down");
  });
  // Looks every half second for a quarter of an hour.
  for (let look = 0; look < 1800; look++) {
    await world.tick(loop);
    world.clock.advance(500);
  }
  expect(triedAt).toHaveLength(deliveriesMax);
  const waits = triedAt.slice(1).map((at, index) => at - (triedAt[index] ?? 0));
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000]);
  expect(world.eventsOf("outbox.dead_lettered")).toMatchObject([{ kind: "alert", key: "a", error: "receiver is down" }]);
  expect(await world.store.outbox.listDead(10)).toHaveLength(1);
});

/** Ticks until everything that is due now has been tried ten times. */
async function exhaust(world: LoopWorld, loop: Loop): Promise<void> {
  for (let tick = 0; tick < deliveriesMax; tick++) {
    await world.tick(loop);
    world.clock.advance(300_000);
  }
}

test("entries given up in one tick raise one alert per kind, with what to do", async () => {
  const world = await loopWorld();
  for (const key of ["1", "2"]) await world.store.outbox.put({ kind: "state-file", key, payload: "{}" });
  const { emit } = { emit: vi.fn<Emit>() };
  const deliverers: Deliverer[] = [
    { kind: "state-file", deliver: async () => await Promise.reject(new Error("read-only file system")) },
    createAlertDeliverer({ emit, now: () => world.clock.now() }),
  ];
  const loop = loopOver(world, async () => undefined, { deliverers, alert: alertsThrough({ outbox: world.store.outbox, emit }) });
  await exhaust(world, loop);
  await world.tick(loop);
  expect(world.eventsOf("outbox.dead_lettered")).toHaveLength(2);
  expect(emit).toHaveBeenCalledExactlyOnceWith("alert.raised", {
    cause: "outbox.dead_lettered:state-file",
    title: expect.stringMatching(/2 state-file entries were given up after 10 deliveries: read-only file system\. `wakeful doctor`/),
    details: expect.objectContaining({ kind: "state-file", keys: ["1", "2"], count: 2 }),
  });
});

test("an alert that cannot be delivered is told as an event, and raises no other", async () => {
  const world = await loopWorld();
  await put(world, "unstoppable:7", JSON.stringify({ title: "Job 7 cannot be stopped", pid: 3 }));
  const alert = vi.fn(async () => true);
  const loop = loopOver(world, async () => await Promise.reject(new Error("disk gone")), { alert });
  await exhaust(world, loop);
  await world.tick(loop);
  expect(alert).not.toHaveBeenCalled();
  expect(world.eventsOf("alert.raised")).toEqual([
    { cause: "unstoppable:7", title: "Job 7 cannot be stopped", details: expect.objectContaining({ pid: 3, notDelivered: "disk gone" }) },
  ]);
  expect(await world.store.outbox.due(10)).toEqual([]);
});

test("a FIFO as the file of alerts blocks nothing: ten tries, then an event; once it is gone, the next alert is delivered", async () => {
  const world = await loopWorld();
  const file = alertsFile(tempDir("alerts"));
  makeFifo(file);
  const emit: Emit = (name, data) => {
    world.events.push({ name, data });
  };
  const loop = loopOver(world, createAlertDeliverer({ emit, file, now: () => world.clock.now() }).deliver);
  await put(world, "a");
  for (let tries = 0; tries < deliveriesMax; tries++) {
    await world.tick(loop);
    world.clock.advance(300_000);
  }
  expect(world.eventsOf("outbox.dead_lettered")).toMatchObject([{ key: "a", error: expect.stringContaining("is not a regular file") }]);
  expect(world.eventsOf("alert.raised")).toMatchObject([
    { cause: "a", details: { notDelivered: expect.stringContaining("regular file") } },
  ]);
  rmSync(file);
  await put(world, "b");
  await world.tick(loop);
  expect(world.eventsOf("alert.raised")).toMatchObject([{ cause: "a" }, { cause: "b" }]);
});

test("waits grow with each failure, are bounded, and half of each is left to chance", () => {
  expect(redeliveryDelayMs(1, () => 0)).toBe(500);
  expect(redeliveryDelayMs(1, () => 1)).toBe(1000);
  expect(redeliveryDelayMs(1000, () => 1)).toBe(300_000);
});

test("an entry that was written again during its delivery is delivered again", async () => {
  const world = await loopWorld();
  await put(world, "a", '{"n":1}');
  const seen: string[] = [];
  const loop = loopOver(world, async (entry) => {
    seen.push(entry.payload);
    if (seen.length === 1) await put(world, "a", '{"n":2}');
  });
  await world.tick(loop);
  await world.tick(loop);
  await world.tick(loop);
  expect(seen).toEqual(['{"n":1}', '{"n":2}']);
});

test("a crash after a delivery, before it was written down, delivers it again", async () => {
  const world = await loopWorld();
  await put(world, "a");
  let deliveries = 0;
  const deliver = async (): Promise<void> => {
    deliveries += 1;
  };
  const dying = {
    ...world.store.outbox,
    done: async () => await Promise.reject(new Error("crash")),
    failed: async () => await Promise.reject(new Error("crash")),
  };
  await world.tick(loopOver(world, deliver, { outbox: dying }));
  // As the next daemon of the data directory does at its start.
  await world.store.outbox.release(here);
  await world.tick(loopOver(world, deliver));
  expect(deliveries).toBe(2);
  expect(await world.store.outbox.depth()).toBe(0);
});

test("one delivery that throws and one that never answers hold up neither the others nor the next tick", async () => {
  const world = await loopWorld();
  for (const key of ["throws", "hangs", "works"]) await put(world, key);
  const calls = new Map<string, number>();
  const loop = loopOver(
    world,
    async ({ key }: OutboxRow) => {
      calls.set(key, (calls.get(key) ?? 0) + 1);
      if (key === "throws") throw new Error("no");
      if (key === "hangs") await new Promise<never>(() => undefined);
    },
    { limits: { deliveryTimeoutMs: 20, concurrency: 2 } },
  );
  expect(await world.tick(loop)).toMatchObject({ settled: 1, failed: 2 });
  world.clock.advance(60_000);
  await put(world, "later");
  expect(await world.tick(loop)).toMatchObject({ settled: 1 });
  // A delivery without an answer is not started a second time.
  expect(Object.fromEntries(calls)).toEqual({ throws: 2, hangs: 1, works: 1, later: 1 });
});

test("an entry without a deliverer fails and is given up in the end; a dry run delivers nothing", async () => {
  const world = await loopWorld();
  await put(world, "a");
  const loop = loopOver(world, async () => undefined, { deliverers: [] });
  expect(await world.tick(loop, { dryRun: true })).toMatchObject({ would: ["deliver alert a"], failed: 0 });
  expect(await world.tick(loop)).toMatchObject({ failed: 1 });
});

test("a delivery that arrives after the tick gave up waiting is not made again", async () => {
  const world = await loopWorld();
  await put(world, "slow");
  let arrive: () => void = () => undefined;
  let begun = 0;
  const loop = loopOver(
    world,
    async () => {
      begun += 1;
      await new Promise<void>((resolve) => {
        arrive = resolve;
      });
    },
    { limits: { deliveryTimeoutMs: 20 } },
  );
  expect(await world.tick(loop)).toMatchObject({ failed: 1 });
  arrive();
  await until(async () => (await world.store.outbox.depth()) === 0, { what: "the late answer to be written down" });
  world.clock.advance(300_000);
  await world.tick(loop);
  expect(begun).toBe(1);
});
