import { expect, test } from "vitest";
import { asHostId, asWorkerId } from "../../src/domain/ids.ts";
import { addMs, asInstant, seconds } from "../../src/domain/time.ts";
import { addItem, claimOne, declareQueues, failure, processOn, registerWorker, startRun } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

const verdict = { reason: "dead_pid", message: "its process is gone", evidence: '{"probe":"dead"}', actor: "worker-reaper" };

describeStores((open) => {
  test("a session begins live, with all that was said of it", async () => {
    const { store } = await open();
    const id = await store.workers.register({
      name: "alpha",
      kind: "handler",
      process: processOn("host-a", 7),
      concurrency: 3,
      queues: ["t", "p/ocr"],
    });
    expect(await store.workers.get(id)).toEqual({
      id,
      name: "alpha",
      kind: "handler",
      state: "live",
      process: processOn("host-a", 7),
      registeredAt: store.now(),
      lastHeardAt: store.now(),
      endedAt: null,
      concurrency: 3,
      claimSeqReceived: 0,
      loopLagMs: null,
      queues: ["t", "p/ocr"],
    });
    expect(await store.workers.get(asWorkerId(999))).toBeUndefined();
  });

  test("live -> draining -> stopped, each once", async () => {
    const { store, clock } = await open();
    const id = await registerWorker(store);
    expect(await store.workers.drain(id)).toBe(true);
    expect(await store.workers.drain(id)).toBe(false);
    clock.advance(seconds(1));
    expect(await store.workers.leave(id)).toBe(true);
    expect(await store.workers.leave(id)).toBe(false);
    expect(await store.workers.get(id)).toMatchObject({ state: "stopped", endedAt: store.now() });
    expect(await store.workers.declareDead(id, verdict)).toBe(false);
  });

  test("a dead session is declared dead by whoever is first, and stays dead with its evidence", async () => {
    const { store } = await open();
    const id = await registerWorker(store);
    const answers = await Promise.all([store.workers.declareDead(id, verdict), store.workers.declareDead(id, verdict)]);
    expect(answers.sort()).toEqual([false, true]);
    expect(await store.workers.leave(id)).toBe(false);
    const renewed = await store.workers.renew({ workerId: id, held: [], claimSeqReceived: 0 });
    expect(renewed.state).toBe("dead");
    expect(await store.actions.list({ workerId: id, limit: 10 })).toMatchObject([{ action: "worker.buried", ...verdict }]);
  });

  test("lists tell the living from the ended", async () => {
    const { store } = await open();
    const [live, draining, stopped] = [
      await registerWorker(store, "a"),
      await registerWorker(store, "b"),
      await registerWorker(store, "c"),
    ];
    await store.workers.drain(draining);
    await store.workers.leave(stopped);
    const alive = await store.workers.listAlive();
    expect(alive.map((worker) => worker.id)).toEqual([live, draining]);
    const watched = { hostId: asHostId("host-a"), silentSince: asInstant(store.now() - 1) };
    const sessions = alive.map(({ id, process, lastHeardAt }) => ({ id, process, lastHeardAt }));
    expect(await store.workers.listPresence(watched)).toEqual({ alive: 2, sessions });
    expect((await store.workers.list({ states: ["stopped"], limit: 10 })).map((worker) => worker.id)).toEqual([stopped]);
    expect(await store.workers.list({ limit: 2 })).toHaveLength(2);
  });

  test("a judge is told of its own host's sessions and of the silent ones; the others are counted", async () => {
    const { store, clock } = await open();
    const ids = async ({ hostId, ago }: { readonly hostId: string; readonly ago: number }) => {
      const options = { hostId: asHostId(hostId), silentSince: asInstant(store.now() - ago) };
      const { alive, sessions } = await store.workers.listPresence(options);
      return [alive, ...sessions.map(({ id }) => id)];
    };
    const here = await registerWorker(store, "a", processOn("host-a"));
    const there = await registerWorker(store, "b", processOn("host-b"));
    clock.advance(seconds(30));
    const later = await registerWorker(store, "c", processOn("host-c"));
    expect(await ids({ hostId: "host-a", ago: 30_001 })).toEqual([3, here]);
    expect(await ids({ hostId: "host-a", ago: 30_000 }), "silent for exactly the limit").toEqual([3, here, there]);
    expect(await ids({ hostId: "host-z", ago: 30_000 })).toEqual([3, here, there]);
    expect(await ids({ hostId: "host-z", ago: 0 })).toEqual([3, here, there, later]);
    await store.workers.renew({ workerId: there, held: [], claimSeqReceived: 0 });
    expect(await ids({ hostId: "host-a", ago: 30_000 })).toEqual([3, here]);
    await store.workers.leave(there);
    expect(await ids({ hostId: "host-z", ago: 30_001 })).toEqual([2]);
  });

  test("heard sessions of one host id with two boot ids are a conflict; ended and silent ones are not", async () => {
    const { store, clock } = await open();
    const before = await registerWorker(store, "a", processOn("host-a"));
    await registerWorker(store, "b", processOn("host-b"));
    const start = store.now();
    expect(await store.workers.listHostConflicts(start)).toEqual([]);
    clock.advance(seconds(10));
    const clone = await registerWorker(store, "c", { ...processOn("host-a"), bootId: "another-boot" });
    expect(await store.workers.listHostConflicts(start)).toEqual([asHostId("host-a")]);
    expect(await store.workers.listHostConflicts(store.now()), "the first is left over from before a reboot").toEqual([]);
    await store.workers.renew({ workerId: before, held: [], claimSeqReceived: 0 });
    expect(await store.workers.listHostConflicts(store.now())).toEqual([asHostId("host-a")]);
    await store.workers.leave(clone);
    expect(await store.workers.listHostConflicts(start)).toEqual([]);
  });

  test("an ended session that still holds live runs is found again after a crash", async () => {
    const { store } = await open();
    await declareQueues(store);
    await addItem(store);
    const id = await registerWorker(store);
    const idle = await registerWorker(store, "idle");
    const run = await claimOne(store, { workerId: id });
    await store.workers.declareDead(id, verdict);
    await store.workers.declareDead(idle, verdict);
    const endedAt = store.now();
    expect(await store.workers.listEndedHolding({ endedSince: endedAt, limit: 10 })).toEqual([{ id, endedAt }]);
    expect(await store.workers.listEndedHolding({ endedSince: addMs(endedAt, 1), limit: 10 })).toEqual([]);
    await startRun(store, run);
    await store.runs.settle([failure(run)]);
    expect(await store.workers.listEndedHolding({ endedSince: endedAt, limit: 10 })).toEqual([]);
  });

  test("the last boot of a host is remembered", async () => {
    const { store } = await open();
    const hostId = asHostId("host-a");
    expect(await store.upkeep.recordHost({ hostId, bootId: "one" })).toEqual({ previousBootId: null });
    expect(await store.upkeep.recordHost({ hostId, bootId: "two" })).toEqual({ previousBootId: "one" });
    expect(await store.upkeep.recordHost({ hostId, bootId: "two" })).toEqual({ previousBootId: "two" });
  });
});
