import { expect, test } from "vitest";
import type { JobId } from "../../src/domain/ids.ts";
import type { Store } from "../../src/store/port/store.ts";
import { cuttable, Doings, type HandlerSessionsBench, startHandlerSessions } from "../support/handler-sessions-bench.ts";
import { present } from "../support/present.ts";
import { declareQueues, retried } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";
import { until } from "../support/until.ts";

const seconds = (n: number): number => n * 1000;

async function withQueues(open: OpenTestStore): Promise<Store> {
  const { store } = await open();
  await declareQueues(store);
  return store;
}

async function add(store: Store, ...payloads: readonly string[]): Promise<readonly JobId[]> {
  const jobs = payloads.map((payload) => ({ payload: JSON.stringify(payload) }));
  return await store.jobs.enqueue({ queue: "t", maxAttempts: 5, jobs });
}

const stateOf = async (store: Store, id: JobId | undefined) => (await store.jobs.get(present(id)))?.state;
/** Time passes during the wait, because a renewal under way at the cut counts from its answer. */
const untilFenced = async (bench: HandlerSessionsBench, isAsked: () => boolean): Promise<void> => {
  await until(
    () => {
      bench.passMs(30);
      return isAsked();
    },
    { what: "the handlers to be asked to stop" },
  );
};
const alertsOf = async (store: Store) => (await store.outbox.due(100)).filter(({ kind }) => kind === "alert");

describeStores((open) => {
  test("handlers that throw what no store keeps end at once, and claiming goes on [F-8.1]", async () => {
    const store = await withQueues(open);
    const thrown = ["a\0b", `${"x".repeat(8191)}\u{1f600} more`, "half \ud83d"];
    const handler = ({ payload }: { readonly payload: string }): string => {
      if (payload === "good") return "done";
      throw new Error(thrown[Number(payload) % thrown.length]);
    };
    // More than the ends that may wait to be repeated before claiming stops.
    const jobs = [...Array.from({ length: 40 }, (_, at) => ({ payload: JSON.stringify(String(at)) })), { payload: '"good"' }];
    const ids = await store.jobs.enqueue({ queue: "t", maxAttempts: 1, jobs });
    await startHandlerSessions({ store, handler });
    await until(async () => (await stateOf(store, ids.at(-1))) === "done", { what: "the job behind them" });
    for (const id of ids.slice(0, -1)) await until(async () => (await stateOf(store, id)) === "failed", { what: `the end of job ${id}` });
    expect((await store.jobs.get(present(ids[0])))?.error).toMatch(/^a\ufffdb/);
    expect((await store.jobs.get(present(ids[1])))?.error).toContain("x... (");
  });

  test("its session tells how late the event loop of its process is", async () => {
    const store = await withQueues(open);
    await startHandlerSessions({ store, handler: new Doings().handler, loopLagMs: () => 37 });
    const lags = async () => (await store.workers.listAlive()).map(({ loopLagMs }) => loopLagMs);
    await until(async () => (await lags())[0] !== null, { what: "the first renewal" });
    expect(await lags()).toEqual([37]);
  });

  test("a handler that does not stop leaks its slot; when all are lost one alert tells it, and what returns brings its slot back", async () => {
    const store = await withQueues(open);
    const doings = new Doings();
    const bench = await startHandlerSessions({ store, handler: doings.handler, limits: { timeoutMs: 30, maxRunningMs: seconds(1000) } });
    const [first] = await add(store, "first");
    await until(async () => present(await store.jobs.get(present(first))).blockedBy !== null, { what: "the first to be given up" });
    expect(await alertsOf(store), "one of two slots is left").toEqual([]);
    await add(store, "second");
    await until(async () => (await alertsOf(store)).length > 0, { what: "the alert" });
    const [alert, ...more] = await alertsOf(store);
    expect(more).toEqual([]);
    expect(alert).toMatchObject({ key: "stuck:crew", revision: 1 });
    expect(JSON.parse(present(alert).payload)).toEqual({
      title: "All 2 handlers of crew ignore that they were asked to stop: restart the process",
      runIds: [doings.runOf("first"), doings.runOf("second")],
    });
    expect(bench.eventsOf("alert.raised"), "told in the process as well, once").toHaveLength(1);

    const [third] = await add(store, "third");
    bench.sessions.lookAgain();
    await store.runs.listDue({ now: store.now(), limit: 1 });
    expect(doings.runOf("third")).toBeUndefined();
    expect(await stateOf(store, third)).toBe("queued");
    doings.finishAtOnce("third", "done by the slot that came back");
    doings.finish("first");
    await until(async () => (await stateOf(store, third)) === "done", { what: "the freed slot to be used" });
    // Its late result is refused with a reason, and stays on record.
    const runId = present(doings.runOf("first"));
    await until(() => bench.eventsOf("run.late_result").length > 0, { what: "the late result" });
    expect(bench.eventsOf("run.late_result")).toMatchObject([
      { runId, jobId: first, queue: "t", tried: "succeeded", why: expect.stringContaining("timed_out") },
    ]);
    expect((await store.actions.list({ runId, limit: 20 })).filter(({ action }) => action === "run.late_result")).toHaveLength(1);
    expect(await store.runs.get(runId)).toMatchObject({ state: "ended", outcome: "timed_out" });
  });

  test("cut off from the store and back: what ran ends as it would have, each end settled once, nothing twice", async () => {
    const direct = await withQueues(open);
    const link = cuttable(direct);
    const doings = new Doings();
    const bench = await startHandlerSessions({ store: link.store, handler: doings.handler });
    const [a, b] = await add(direct, "a", "b");
    await until(() => doings.started.length === 2, { what: "both to run" });
    const [later] = await add(direct, "later");
    link.cut = true;
    doings.finish("a", 1);
    doings.finish("b", 2);
    const before = link.refused;
    await until(() => link.refused > before + 20 && bench.eventsOf("store.degraded").some(({ code }) => code === "settle_failed"), {
      what: "renewals, claims and settlements to fail for a while",
    });
    expect([await stateOf(direct, a), await stateOf(direct, b), await stateOf(direct, later)]).toEqual(["running", "running", "queued"]);
    link.cut = false;
    await until(() => doings.runOf("later") !== undefined, { what: "claims to go on by themselves" });
    doings.finish("later", 3);
    for (const [id, output] of [
      [a, "1"],
      [b, "2"],
      [later, "3"],
    ] as const) {
      await until(async () => (await stateOf(direct, id)) === "done");
      expect(await direct.jobs.get(present(id))).toMatchObject({ output, attempts: 1, runCount: 1 });
      expect(await direct.runs.ofJob(present(id))).toMatchObject([{ outcome: "succeeded", state: "ended" }]);
    }
    expect(doings.started).toHaveLength(3);
    expect(bench.eventsOf("runs.settled").reduce((sum, { count }) => sum + count, 0)).toBe(3);
    expect(bench.eventsOf("run.late_result")).toEqual([]);
    expect(await direct.upkeep.checkInvariants()).toEqual([]);
  });

  test("a process that is cut off stops all the same: what it could not tell is named in its log and recovered by others [F-8.1]", async () => {
    const direct = await withQueues(open);
    const link = cuttable(direct);
    const doings = new Doings();
    const bench = await startHandlerSessions({ store: link.store, handler: doings.handler, selfFenceAfterMs: 30 });
    const [id] = await add(direct, "work");
    await until(() => doings.started.length === 1);
    link.cut = true;
    await untilFenced(bench, () => doings.started[0]?.signal.aborted === true);
    doings.finish("work", 1);
    expect(await bench.sessions.stop({ drain: false, graceMs: 20 })).toEqual([]);
    expect(bench.eventsOf("store.degraded")).toContainEqual({
      code: "ends_not_written",
      message: expect.stringContaining(` ${doings.runOf("work")}.`) as string,
    });
    link.cut = false;
    const runs = await direct.runs.ofJob(present(id));
    expect(runs, "nothing was told, and nothing is sent any more").toMatchObject([{ state: "started" }]);
  });

  test("a handler that ignores the fence of a cut-off process: its run goes on elsewhere, its late result is refused and kept, its slot comes back", async () => {
    const direct = await withQueues(open);
    const link = cuttable(direct);
    const [here, elsewhere] = [new Doings(), new Doings()];
    const bench = await startHandlerSessions({ store: link.store, handler: here.handler, concurrency: 1, selfFenceAfterMs: 30 });
    const [id] = await add(direct, "work");
    await until(() => here.started.length === 1);
    const runId = present(here.runOf("work"));
    link.cut = true;
    await untilFenced(bench, () => here.started[0]?.signal.aborted === true);

    // Another judge returns the run once the session has been silent long enough, as a worker-reaper does.
    const [live] = await direct.runs.listLive([runId]);
    const { jobId, ownerEpoch } = present(live);
    const lost = retried(
      { runId, jobId, ownerEpoch },
      {
        outcome: "lost",
        reason: "session_silent",
        actor: "worker-reaper",
      },
    );
    expect(await direct.runs.settle([lost])).toMatchObject([{ kind: "ok" }]);
    const other = await startHandlerSessions({ store: direct, handler: elsewhere.handler, name: "other", pid: 200, concurrency: 1 });
    await until(() => elsewhere.started.length === 1, { what: "the successor" });
    elsewhere.finish("work", "by the successor");
    await until(async () => (await stateOf(direct, id)) === "done");

    link.cut = false;
    here.finish("work", "too late");
    await until(() => bench.eventsOf("run.late_result").length > 0, { what: "the late result" });
    expect(bench.eventsOf("run.late_result")).toMatchObject([
      { runId, jobId: id, tried: "succeeded", why: expect.stringContaining("lost") },
    ]);
    const kept = (await direct.actions.list({ runId, limit: 20 })).filter(({ action }) => action === "run.late_result");
    expect(kept).toMatchObject([{ jobId: id, runId }]);
    expect(await direct.jobs.get(present(id))).toMatchObject({ state: "done", output: '"by the successor"' });
    expect((await direct.runs.ofJob(present(id))).map(({ outcome }) => outcome)).toEqual(["lost", "succeeded"]);

    await other.sessions.stop({ drain: true, graceMs: 0 });
    const [next] = await add(direct, "next");
    await until(() => here.runOf("next") !== undefined, { what: "the slot that came back" });
    expect(bench.eventsOf("worker.fenced"), "fenced once, however long it was cut off").toHaveLength(1);
    here.finish("next");
    await until(async () => (await stateOf(direct, next)) === "done");
    expect(await direct.upkeep.checkInvariants()).toEqual([]);
  });

  /** A store that registers the first session at once, and any other when the test says so. */
  function registeringLate(store: Store): { readonly store: Store; register(): void; readonly asked: () => number } {
    let register: () => void = () => undefined;
    const said = new Promise<void>((resolve) => {
      register = resolve;
    });
    let asked = 0;
    const workers: Store["workers"] = {
      ...store.workers,
      register: async (worker) => {
        asked++;
        if (asked > 1) await said;
        return await store.workers.register(worker);
      },
    };
    return { store: { ...store, workers }, register: () => register(), asked: () => asked };
  }

  test("two handlers that do not stop while a session is being opened: one session follows, not two that claim side by side", async () => {
    const direct = await withQueues(open);
    const late = registeringLate(direct);
    const doings = new Doings();
    const limits = { timeoutMs: 30, maxRunningMs: seconds(1000) };
    const bench = await startHandlerSessions({ store: late.store, handler: doings.handler, concurrency: 4, limits });
    const stuck = await add(direct, "first", "second");
    for (const jobId of stuck) {
      await until(async () => present(await direct.jobs.get(jobId)).blockedBy !== null, { what: "both to be given up" });
    }
    late.register();
    const [next] = await add(direct, "next");
    doings.finishAtOnce("next", "done");
    await until(async () => (await stateOf(direct, next)) === "done", { what: "the new session to work" });
    expect(late.asked()).toBe(2);
    expect(bench.eventsOf("worker.registered")).toHaveLength(2);
    for (const payload of ["first", "second"]) doings.finish(payload);
  });

  test("all handlers are stuck before the next session is open: the alert tells it all the same", async () => {
    const direct = await withQueues(open);
    const late = registeringLate(direct);
    const doings = new Doings();
    const limits = { timeoutMs: 30, maxRunningMs: seconds(1000) };
    await startHandlerSessions({ store: late.store, handler: doings.handler, concurrency: 2, limits });
    for (const jobId of await add(direct, "first", "second")) {
      await until(async () => present(await direct.jobs.get(jobId)).blockedBy !== null, { what: "both to be given up" });
    }
    late.register();
    await until(async () => (await alertsOf(direct)).length > 0, { what: "the alert" });
    expect(await alertsOf(direct)).toMatchObject([{ key: "stuck:crew" }]);
    const [next] = await add(direct, "next");
    doings.finishAtOnce("next", "done");
    for (const payload of ["first", "second"]) doings.finish(payload);
    await until(async () => (await stateOf(direct, next)) === "done", { what: "a slot that came back to be used" });
  });

  test("a session that is being opened while its process stops is ended, and nobody renews it", async () => {
    const direct = await withQueues(open);
    const late = registeringLate(direct);
    const doings = new Doings();
    const limits = { timeoutMs: 30, maxRunningMs: seconds(1000) };
    const bench = await startHandlerSessions({ store: late.store, handler: doings.handler, limits });
    await add(direct, "first");
    await until(() => late.asked() === 2, { what: "another session to be asked for" });
    const [before] = await direct.workers.listAlive();
    expect(await bench.sessions.stop({ drain: false, graceMs: 10 })).toEqual([doings.runOf("first")]);
    late.register();
    await until(async () => (await direct.workers.list({ limit: 10 })).some(({ state }) => state === "stopped"), { what: "its end" });
    expect((await direct.workers.listAlive()).map(({ id }) => id)).toEqual([present(before).id]);
    doings.finish("first");
  });

  test("the fence reaches the handlers of a worker that was replaced, too", async () => {
    const direct = await withQueues(open);
    const link = cuttable(direct);
    const doings = new Doings();
    const bench = await startHandlerSessions({ store: link.store, handler: doings.handler, concurrency: 3, selfFenceAfterMs: 30 });
    await add(direct, "stuck", "old");
    await until(() => doings.started.length === 2);
    bench.sessions.lose(present(doings.runOf("stuck")), "the test says so");
    await until(() => bench.eventsOf("worker.registered").length === 2, { what: "a successor" });
    await add(direct, "new");
    await until(() => doings.started.length === 3);
    const asked = () => ["old", "new"].map((payload) => doings.started.find((each) => each.payload === payload)?.signal.aborted);
    expect(asked()).toEqual([false, false]);
    link.cut = true;
    await untilFenced(bench, () => asked().every((each) => each === true));
    link.cut = false;
    for (const payload of ["stuck", "old", "new"]) doings.finish(payload);
  });

  for (const [order, cutUntilFenced] of [
    ["before it is fenced", false],
    ["after it was fenced", true],
  ] as const) {
    test(`a process that wakes, and hears ${order} that its session was judged dead, registers one session more`, async () => {
      const direct = await withQueues(open);
      const link = cuttable(direct);
      const doings = new Doings();
      const bench = await startHandlerSessions({ store: link.store, handler: doings.handler, selfFenceAfterMs: 30 });
      const [session] = await direct.workers.listAlive();
      link.cut = cutUntilFenced;
      const verdict = { reason: "session_silent", message: "silent while it was suspended", evidence: "{}", actor: "worker-reaper" };
      expect(await direct.workers.declareDead(present(session).id, verdict)).toBe(true);
      bench.passMs(seconds(1000));
      await until(() => bench.eventsOf("worker.fenced").length > 0, { what: "the fence" });
      link.cut = false;
      const [id] = await add(direct, "work");
      doings.finishAtOnce("work", "done");
      await until(async () => (await stateOf(direct, id)) === "done", { what: "the new session to work" });
      await until(async () => (await direct.workers.listAlive()).length === 1, { what: "one session to be left" });
      // Any other session about to register would have done so before the next renewals.
      const heardAt = async () => present((await direct.workers.listAlive())[0]).id;
      const survivor = await heardAt();
      for (const payload of ["second", "third"]) {
        const [next] = await add(direct, payload);
        doings.finishAtOnce(payload, "done");
        await until(async () => (await stateOf(direct, next)) === "done");
      }
      expect(await heardAt()).toBe(survivor);
      expect(await direct.workers.listAlive()).toHaveLength(1);
      expect(bench.eventsOf("worker.registered")).toHaveLength(2);
      expect(await direct.upkeep.checkInvariants()).toEqual([]);
    });
  }

  test("a handler that ignores the fence and returns before anybody took its run: the work counts, once", async () => {
    const direct = await withQueues(open);
    const link = cuttable(direct);
    const doings = new Doings();
    const bench = await startHandlerSessions({ store: link.store, handler: doings.handler, concurrency: 1, selfFenceAfterMs: 30 });
    const [id] = await add(direct, "work");
    await until(() => doings.started.length === 1);
    link.cut = true;
    await untilFenced(bench, () => doings.started[0]?.signal.aborted === true);
    await until(async () => (await alertsOf(direct)).length > 0 || bench.eventsOf("alert.raised").length > 0, {
      what: "the slot to be given up",
    });
    link.cut = false;
    doings.finish("work", "after all");
    await until(async () => (await stateOf(direct, id)) === "done");
    expect(await direct.jobs.get(present(id))).toMatchObject({ output: '"after all"', runCount: 1 });
    expect(bench.eventsOf("run.late_result")).toEqual([]);
  });
});
