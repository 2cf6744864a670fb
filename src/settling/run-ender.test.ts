import { describe, expect, test } from "vitest";
import { liveRun } from "../../test/support/live-run.ts";
import { chain } from "../../test/support/loop-world.ts";
import { RepairWorld, type StartedRun } from "../../test/support/repair-world.ts";
import { asJobId, asOwnerEpoch, asRunId } from "../domain/ids.ts";
import { asInstant } from "../domain/time.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import type { LiveRun, RunsStore } from "../store/port/runs.ts";
import { RunEnder, type RunFailure } from "./run-ender.ts";
import { settlementOfSuccess } from "./settlement.ts";

const lost: RunFailure = { outcome: { kind: "lost", reason: "its process is dead" }, reason: "dead_pid" };
const by = { actor: "test" };

async function liveOf(world: RepairWorld, run: StartedRun): Promise<LiveRun> {
  const [live] = await world.store.runs.listLive([run.runId]);
  if (live === undefined) throw new Error(`run ${run.runId} does not live`);
  return live;
}

async function atWork(options: Parameters<RepairWorld["running"]>[0] = {}) {
  const world = await RepairWorld.open();
  const run = await world.running(options);
  return { world, run, live: await liveOf(world, run), ender: world.loops.ender, told: () => world.world.events.map(({ name }) => name) };
}

test("a lost run goes back to its queue by the retry contract, with one event", async () => {
  const { world, run, live, ender } = await atWork();
  const ended = await ender.end(live, lost, by);
  expect(ended).toEqual({ kind: "ended", outcome: "lost", reason: "dead_pid", message: "its process is dead", jobState: "queued" });
  expect(await world.store.jobs.get(run.jobId)).toMatchObject({ state: "queued", attempts: 1 });
  expect(world.world.events).toEqual([
    {
      name: "run.ended",
      data: {
        runId: run.runId,
        jobId: run.jobId,
        queue: "dev",
        outcome: "lost",
        reason: "dead_pid",
        message: "its process is dead",
        jobState: "queued",
        actor: "test",
      },
    },
  ]);
});

test("an end that the store could not write is the caller's error, and nobody is told of an end", async () => {
  const { world, live } = await atWork();
  const error = new Error("no such character");
  const told: string[] = [];
  const ender = new RunEnder({
    store: { ...world.store, runs: { ...world.store.runs, settle: async () => [{ kind: "failed", error }] } },
    registry: world.world.registry,
    random: () => 0.5,
    emit: (name) => void told.push(name),
    stopWithinMs: () => 1,
  });
  await expect(ender.end(live, lost, by)).rejects.toBe(error);
  expect(told).toEqual([]);
});

test("an end without a message is emitted with its code", async () => {
  const { world, run, live, ender } = await atWork();
  await world.exit(run, 0);
  await ender.endWell(live, { reason: "exit0_no_item", exitCode: 0, evidence: { exitCode: 0 } }, by);
  expect(world.world.eventsOf("run.ended")).toMatchObject([{ outcome: "succeeded", message: "exit0_no_item", jobState: "done" }]);
});

test("of two that end a run at once one wins and emits its events; the loser of the flip emits nothing", async () => {
  const { world, run, live, ender } = await atWork();
  const hung: RunFailure = { outcome: { kind: "hung", reason: "no progress for 700 s" }, reason: "hung" };
  const ends = await Promise.all([ender.end(live, lost, by), ender.end(live, hung, { actor: "another" })]);
  expect(ends).toMatchObject([{ kind: "ended" }, { kind: "lost" }]);
  expect(world.world.events).toMatchObject([{ name: "run.ended", data: { runId: run.runId, outcome: "lost" } }]);
});

test("a supervisor that has lost its run emits a late result; a loop in its place does not", async () => {
  const { world, live, ender, told } = await atWork();
  await ender.end(live, lost, by);
  const cancelled: RunFailure = { outcome: { kind: "cancelled", reason: "by hand" }, reason: "cancelled" };
  expect(await ender.end(live, cancelled, by)).toMatchObject({ kind: "lost" });
  expect(await ender.end(live, cancelled, { ...by, supervises: true })).toMatchObject({ kind: "lost" });
  expect(told()).toEqual(["run.ended", "run.late_result"]);
  expect(world.world.eventsOf("run.late_result")).toMatchObject([{ tried: "cancelled" }]);
});

test("a crash between the flip and its events loses only the events: the next to end the run changes and emits nothing", async () => {
  const { world, run, live, ender, told } = await atWork();
  const { settle } = world.seen.runs;
  world.seen.runs.settle = async (settlements, how) => {
    await settle(settlements, how);
    throw new Error("the process is gone");
  };
  await expect(ender.end(live, lost, by)).rejects.toThrow("the process is gone");
  world.seen.runs.settle = settle;
  expect(await world.restart().ender.end(live, lost, by)).toEqual({ kind: "already" });
  expect(told()).toEqual([]);
  expect(await world.store.jobs.get(run.jobId)).toMatchObject({ state: "queued", attempts: 1 });
  expect((await world.store.actions.list({ runId: run.runId, limit: 9 })).map(({ action }) => action)).toContain("run.ended");
});

test("a crash before the flip leaves the run as it was, for the next to end it", async () => {
  const { world, live, ender, told } = await atWork();
  const { settle } = world.seen.runs;
  world.seen.runs.settle = async () => await Promise.reject(new Error("the process is gone"));
  await expect(ender.end(live, lost, by)).rejects.toThrow("the process is gone");
  world.seen.runs.settle = settle;
  expect(told()).toEqual([]);
  expect(await ender.end(live, lost, by)).toMatchObject({ kind: "ended" });
  expect(told()).toEqual(["run.ended"]);
});

test("what may still live blocks the job until it is proved stopped, at the latest after the stop limits", async () => {
  const { world, run, live, ender } = await atWork();
  await ender.end(live, { ...lost, mayStillLive: true }, by);
  const stopBy = world.now + world.settings.stopWithinMs;
  expect(await world.store.jobs.get(run.jobId)).toMatchObject({ state: "queued", blockedBy: run.runId, stopBy });
});

test("the supervisor is done with its run before any event", async () => {
  const { live, ender, told } = await atWork();
  const before: number[] = [];
  await ender.end(live, lost, { ...by, onAnswered: () => before.push(told().length) });
  expect([before, told().length]).toEqual([[0], 1]);
});

test("many runs end in one call of the store, and those that another has ended emit nothing", async () => {
  const { world, live, ender } = await atWork();
  const other = await liveOf(world, await world.running());
  await ender.end(other, { outcome: { kind: "hung", reason: "hung" }, reason: "hung" }, by);
  let calls = 0;
  const { settle } = world.seen.runs;
  world.seen.runs.settle = async (settlements, how) => {
    calls++;
    return await settle(settlements, how);
  };
  const ends = [live, other].map((run) => ({ run, failure: lost }));
  expect(await ender.endAll(ends, by)).toMatchObject([{ kind: "ended" }, { kind: "lost" }]);
  expect(calls).toBe(1);
  expect(world.world.eventsOf("run.ended").map(({ runId }) => runId)).toEqual([other.id, live.id]);
});

test("a page emits as many single events as there is room for", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 77, kind: "handler" });
  for (let at = 0; at < 4; at++) await world.running({ queue: "mail", workerId });
  await world.store.workers.declareDead(workerId, { reason: "dead_pid", message: "dead", evidence: "{}", actor: "test" });
  const page = { workerIds: [workerId], limit: 9, reason: "session_dead", actor: "worker-reaper", recoverySpreadMs: 0, random: () => 0 };
  expect(await world.loops.ender.endLostPage({ ...page, limit: 1 }, -1)).toMatchObject({ settled: 1 });
  expect(world.world.events, "no room is room for none").toEqual([]);
  expect(await world.loops.ender.endLostPage(page, 2)).toMatchObject({ settled: 3 });
  expect(world.world.eventsOf("run.ended")).toMatchObject([
    { queue: "mail", outcome: "lost", reason: "session_dead", actor: "worker-reaper" },
    { queue: "mail", outcome: "lost", reason: "session_dead", actor: "worker-reaper" },
  ]);
});

test("each death of a session before the start costs more than the one before, whoever notices", async () => {
  const world = await RepairWorld.open();
  const spent: number[] = [];
  await world.store.jobs.enqueue({ queue: "dev", maxAttempts: 9, jobs: [{}] });
  for (let death = 0; death < 5; death++) {
    const claimed = await world.claim("dev");
    if (claimed === undefined) throw new Error("nothing is claimable");
    const [live] = await world.store.runs.listLive([claimed.runId]);
    if (live === undefined) throw new Error("the run does not live");
    const failure: RunFailure = { outcome: { kind: "never_started", reason: "its worker is dead", bySessionDeath: true }, reason: "dead" };
    await world.loops.ender.end(live, failure, by);
    spent.push((await world.store.jobs.get(claimed.jobId))?.attempts ?? -1);
    world.advance(3_600_000);
    await world.store.jobs.promoteDue(9);
  }
  expect(spent).toEqual([0, 0, 0, 1, 2]);
});

describe("what the store is asked to write", () => {
  const now = asInstant(1_000);

  /** An ender whose store keeps what it is asked. */
  function recorded() {
    const calls: unknown[] = [];
    const settle: RunsStore["settle"] = async (settlements, how) => {
      calls.push([settlements, how]);
      return settlements.map(() => ({ kind: "ok", outcome: "succeeded", jobState: "done" }));
    };
    const settleLostPage = async () => await Promise.reject(new Error("no page is asked for"));
    const store = { runs: { settle, settleLostPage }, now: () => now };
    const deps = { store, registry: new PipelineRegistry([]), random: () => 0, emit: () => undefined, stopWithinMs: () => 15 };
    return { calls, ender: new RunEnder(deps) };
  }

  const settlement = { runId: asRunId(17), jobId: asJobId(5), ownerEpoch: asOwnerEpoch(1), outcome: "succeeded", reason: "done" } as const;

  test("is what was decided; of what may still live, until when it is to be stopped, and only if nobody holds the row where that is asked", async () => {
    const { calls, ender } = recorded();
    await ender.write({ queue: "dev" }, settlement);
    await ender.write({ queue: "dev" }, settlement, { mayStillLive: true, unlessLocked: true });
    expect(calls).toEqual([
      [[settlement], {}],
      [[{ ...settlement, stopBy: now + 15 }], { unlessLocked: true }],
    ]);
  });

  test("has the start of a run that the store may hold as reserved, and the evidence of a success", async () => {
    const { calls, ender } = recorded();
    await ender.end(liveRun(), { ...lost, startedAt: now, evidence: { pid: 4 } }, by);
    await ender.endWell(liveRun(), { reason: "exit0_no_item", exitCode: 0, evidence: { exitCode: 0 } }, by);
    expect(calls).toMatchObject([
      [[{ runId: 17, outcome: "lost", startedAt: now, evidence: '{"pid":4}' }], {}],
      [[{ runId: 17, outcome: "succeeded", reason: "exit0_no_item", exitCode: 0, evidence: '{"exitCode":0}', actor: "test" }], {}],
    ]);
  });
});

describe("an item that goes on with the end of its run has its event after the commit", () => {
  async function itemAtWork() {
    const world = await RepairWorld.open([chain("p", ["prep", "ocr"], { stage: { attempts: 1 } })]);
    const item = await world.addItem();
    const work = async (queue: string) => await liveOf(world, await world.start({ queue }));
    const finish = async (live: LiveRun) => {
      const advance = world.world.registry.advanceFrom("p", live.itemStage ?? "");
      const details = { reason: "exit0_no_gate", exitCode: 0 };
      return await world.loops.ender.write(live, settlementOfSuccess(live, { advance, output: undefined, details }, by));
    };
    const told = () => world.world.events.filter(({ name }) => name.startsWith("item.") || name === "run.ended");
    return { world, item, work, finish, told };
  }

  test("to its next stage, and past its last to its end", async () => {
    const { item, work, finish, told } = await itemAtWork();
    await finish(await work("p/prep"));
    await finish(await work("p/ocr"));
    expect(told()).toMatchObject([
      { name: "run.ended", data: { queue: "p/prep", jobState: "done" } },
      { name: "item.advanced", data: { itemId: item.id, from: "prep", to: "ocr" } },
      { name: "run.ended", data: { queue: "p/ocr", jobState: "done" } },
      { name: "item.advanced", data: { itemId: item.id, from: "ocr", to: null } },
      { name: "item.ended", data: { itemId: item.id, state: "done", reason: "exit0_no_gate" } },
    ]);
  });

  test("to a failed end, with the run's reason", async () => {
    const { world, item, work, told } = await itemAtWork();
    await world.loops.ender.end(await work("p/prep"), { outcome: { kind: "failed", reason: "exit code 3" }, reason: "exit_code" }, by);
    expect(told()).toMatchObject([
      { name: "run.ended", data: { outcome: "failed" } },
      { name: "item.ended", data: { itemId: item.id, state: "failed", reason: "exit code 3" } },
    ]);
  });

  test("not where its job goes back, and not by who lost the flip or asks again", async () => {
    const { world, item, work, finish, told } = await itemAtWork();
    const live = await work("p/prep");
    await world.loops.ender.end(live, { outcome: { kind: "released", reason: "the worker stops" }, reason: "released" }, by);
    await finish(live);
    expect(told()).toMatchObject([{ name: "run.ended", data: { outcome: "released" } }]);
    const again = await work("p/prep");
    await Promise.all([finish(again), finish(again)]);
    expect(world.world.eventsOf("item.advanced")).toEqual([{ itemId: item.id, from: "prep", to: "ocr" }]);
  });
});
