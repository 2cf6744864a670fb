import { rmSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { RepairWorld, type StartedRun } from "../../test/support/repair-world.ts";
import type { RunId } from "../domain/ids.ts";
import { runTaskName } from "../domain/run-task.ts";
import type { DurationMs } from "../domain/time.ts";
import { runDirOf } from "../files/data-paths.ts";
import type { LiveRun } from "../store/port/runs.ts";
import { type AdoptionReport, adoptOrRequeue } from "./adoption.ts";

interface StartOptions {
  /** What the world looks like by the second look at what seemed dead. */
  readonly between?: () => void;
  /** What the worker that adopts answers. */
  readonly adopts?: (run: LiveRun) => Promise<boolean>;
}

/** A start over the world's store, after the daemon that supervised its runs has died. */
async function start(
  world: RepairWorld,
  { between, adopts = async () => true }: StartOptions = {},
): Promise<AdoptionReport & { readonly asked: readonly RunId[]; readonly pauses: readonly DurationMs[] }> {
  const asked: RunId[] = [];
  const pauses: DurationMs[] = [];
  world.probe.set(50, "dead");
  const report = await adoptOrRequeue({
    store: world.store,
    hostId: world.host.hostId,
    observer: world.loops.observer,
    probe: world.probe,
    settings: { ...world.settings, recoverySpreadMs: 0 },
    ender: world.loops.ender,
    adopt: async (run) => {
      asked.push(run.id);
      return await adopts(run);
    },
    stopUnknown: async () => 0,
    emit: (name, data) => {
      world.world.events.push({ name, data });
    },
    pause: async (ms) => {
      pauses.push(ms);
      world.advance(ms);
      between?.();
    },
  });
  return { ...report, asked, pauses };
}

const outcomeOf = async (world: RepairWorld, { runId }: StartedRun) => await world.store.runs.get(runId);

test("a run of which nothing can be proved is left to the job-reaper: neither adopted nor ended", async () => {
  const world = await RepairWorld.open();
  const [unknown, alive, dead] = [await world.running(), await world.running(), await world.running()];
  world.probe.set(unknown.pid, "unknown");
  world.probe.set(unknown.wrapperPid, "unknown");
  world.die(dead);
  expect(await start(world)).toMatchObject({ adopted: 1, requeued: 1, asked: [alive.runId] });
  expect(await outcomeOf(world, unknown)).toMatchObject({ state: "started", outcome: null, workerId: expect.anything() });
  expect(await world.stateOf(unknown)).toBe("running");
  expect(await outcomeOf(world, dead)).toMatchObject({ outcome: "lost", reason: "supervisor_dead" });
});

test("a dead wrapper without a command has executed nothing only where its records are: a folder that is gone proves nothing", async () => {
  const world = await RepairWorld.open();
  const [recorded, removed] = [await world.running({ command: false }), await world.running({ command: false })];
  for (const run of [recorded, removed]) world.die(run);
  rmSync(runDirOf(world.world.paths, removed.runId), { recursive: true });
  expect(await start(world)).toMatchObject({ adopted: 0, requeued: 2 });
  expect(await outcomeOf(world, recorded)).toMatchObject({ outcome: "never_started", spent: "nothing" });
  expect(await outcomeOf(world, removed)).toMatchObject({ outcome: "lost", spent: "attempt" });
});

test("a foreground command of `wakeful run` is nobody's to adopt or to end: it goes on by itself", async () => {
  const world = await RepairWorld.open();
  await world.store.jobs.ensureQueues([{ name: runTaskName, kind: "command" }]);
  const [foreground, dead] = [await world.running({ queue: runTaskName }), await world.running({ queue: runTaskName })];
  world.die(dead);
  expect(await start(world)).toMatchObject({ adopted: 0, requeued: 0, asked: [] });
  for (const run of [foreground, dead]) expect(await outcomeOf(world, run)).toMatchObject({ state: "started", outcome: null });
});

describe("what seems dead is looked at as often as the settings say", () => {
  test("one wrong answer ends nothing: alive at the second look, it is gone on with", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    const report = await start(world, { between: () => world.probe.set(run.pid, "alive") });
    expect(report).toMatchObject({ adopted: 1, requeued: 0, asked: [run.runId], pauses: [250] });
  });

  test("an answer that says nothing leaves it to the job-reaper", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    expect(await start(world, { between: () => world.probe.set(run.pid, "unknown") })).toMatchObject({ adopted: 0, requeued: 0 });
    expect(await outcomeOf(world, run)).toMatchObject({ state: "started" });
  });

  test("a start without anything that seems dead waits for nothing", async () => {
    const world = await RepairWorld.open();
    await world.running();
    expect(await start(world)).toMatchObject({ adopted: 1, pauses: [] });
  });

  test("more looks than a start has time for are the job-reaper's", async () => {
    const world = await RepairWorld.open();
    world.settings.thresholds = { ...world.settings.thresholds, deadTicks: 22 };
    world.die(await world.running());
    expect(await start(world)).toMatchObject({ requeued: 0, pauses: [] });
    world.settings.thresholds = { ...world.settings.thresholds, deadTicks: 21 };
    expect(await start(world)).toMatchObject({ requeued: 1, pauses: Array.from({ length: 20 }, () => 250) });
  });

  test("a crash between two looks has changed nothing: the next start looks anew", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    const between = () => {
      throw new Error("killed");
    };
    await expect(start(world, { between })).rejects.toThrow("killed");
    expect(await outcomeOf(world, run)).toMatchObject({ state: "started" });
    expect(await start(world)).toMatchObject({ requeued: 1, pauses: [250] });
  });
});

describe("an exit on record", () => {
  test("is gone on with, although everything of the run is dead", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    world.leaveRecord(run, 0);
    expect(await start(world)).toMatchObject({ adopted: 1, requeued: 0, asked: [run.runId], pauses: [] });
  });

  test("is a living supervisor's to go on with", async () => {
    const world = await RepairWorld.open();
    const run = await world.running({ workerId: await world.worker({ pid: 51 }) });
    world.die(run);
    world.leaveRecord(run, 0);
    expect(await start(world)).toMatchObject({ adopted: 0, requeued: 0, asked: [] });
  });

  test("is waited for while the wrapper of a dead command lives, and taken when it is there", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.probe.set(run.pid, "dead");
    expect(await start(world, { between: () => world.leaveRecord(run, 0) })).toMatchObject({ adopted: 1, asked: [run.runId] });
  });

  test("that has not come is left to be waited for by the job-reaper, not called lost, and not thrown away with adoption off", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.probe.set(run.pid, "dead");
    for (const adoption of [true, false]) {
      world.settings.adoption = adoption;
      expect(await start(world)).toMatchObject({ adopted: 0, requeued: 0, asked: [] });
    }
    expect(await outcomeOf(world, run)).toMatchObject({ state: "started" });
  });

  test("that came after the last look is not called lost", async () => {
    const world = await RepairWorld.open();
    const [first, second] = [await world.running(), await world.running()];
    for (const run of [first, second]) world.die(run);
    const { settle } = world.store.runs;
    world.seen.runs.settle = async (settlements) => {
      world.leaveRecord(second, 0);
      return await settle(settlements);
    };
    expect(await start(world)).toMatchObject({ requeued: 1 });
    expect(await outcomeOf(world, second)).toMatchObject({ state: "started" });
    expect(await start(world)).toMatchObject({ adopted: 1, asked: [second.runId] });
  });

  test("written while the process was asked for is found: the record is read last", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    const { observe } = world.probe;
    world.probe.observe = function (identity) {
      if (identity.pid === run.pid) world.leaveRecord(run, 0);
      return observe.call(this, identity);
    };
    expect(await start(world)).toMatchObject({ adopted: 1, requeued: 0 });
  });

  test("a worker that dies over it, or is not the first, leaves it to the next start", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    world.leaveRecord(run, 0);
    const dies = async () => {
      throw new Error("killed");
    };
    expect(await start(world, { adopts: dies })).toMatchObject({ adopted: 0, requeued: 0 });
    expect(world.world.eventsOf("loop.subject_failed")).toMatchObject([
      { loop: "adoption", subject: `job ${run.jobId}`, message: "killed" },
    ]);
    expect(await start(world, { adopts: async () => false })).toMatchObject({ adopted: 0, requeued: 0 });
    expect(await start(world)).toMatchObject({ adopted: 1 });
  });
});

describe("another boot id", () => {
  /** A run and a session of another boot than this start's. */
  async function afterAnotherBoot() {
    const world = await RepairWorld.open();
    const run = await world.running();
    for (const pid of [run.pid, run.wrapperPid]) world.probe.set(pid, "otherBoot");
    return { world, run };
  }

  test("ends a run once its session has been silent: the host was started again", async () => {
    const { world, run } = await afterAnotherBoot();
    world.advance(30_000);
    world.probe.set(50, "otherBoot");
    expect(await start(world)).toMatchObject({ requeued: 1, pauses: [] });
    expect(await outcomeOf(world, run)).toMatchObject({
      outcome: "lost",
      reason: "supervisor_dead",
      message: "its supervisor died: the host was started again; its session was last heard 30 s ago",
    });
  });

  test("ends nothing while its session is heard: it may be another machine's, cloned from this one", async () => {
    const { world, run } = await afterAnotherBoot();
    world.advance(29_999);
    expect(await start(world)).toMatchObject({ adopted: 0, requeued: 0 });
    expect(await world.stateOf(run)).toBe("running");
  });

  test("ends nothing, and no pid is trusted, while the host id shows two boots", async () => {
    const { world, run } = await afterAnotherBoot();
    const dead = await world.running();
    world.die(dead);
    world.advance(60_000);
    for (const bootId of [world.host.bootId, "another-boot"]) {
      const process = { ...world.host, bootId, pid: 90, startTime: "1" };
      await world.store.workers.register({ name: bootId, kind: "command", process, concurrency: 1, queues: [] });
    }
    expect(await start(world)).toMatchObject({ adopted: 0, requeued: 0, asked: [] });
    expect([await world.stateOf(run), await world.stateOf(dead)]).toEqual(["running", "running"]);
    world.advance(30_001);
    expect(await start(world)).toMatchObject({ requeued: 2 });
  });
});

test("what never began is told so although something of it lives, and spends nothing", async () => {
  const world = await RepairWorld.open();
  const run = await world.running({ command: false });
  world.leaveRecord(run, "nogo");
  expect(await start(world)).toMatchObject({ adopted: 0, requeued: 1, asked: [] });
  expect(await outcomeOf(world, run)).toMatchObject({ outcome: "never_started", reason: "nogo", spent: "nothing", bySessionDeath: true });
});

test("a flip that fails leaves its run to the next start, and the others are ended", async () => {
  const world = await RepairWorld.open();
  const [first, second] = [await world.running(), await world.running()];
  for (const run of [first, second]) world.die(run);
  const { settle } = world.store.runs;
  world.seen.runs.settle = async (settlements) => {
    if (settlements[0]?.runId === first.runId) throw new Error("the disk is full");
    return await settle(settlements);
  };
  expect(await start(world)).toMatchObject({ requeued: 1 });
  expect(world.world.eventsOf("loop.subject_failed")).toMatchObject([{ subject: `job ${first.jobId}`, message: "the disk is full" }]);
  world.seen.runs.settle = settle;
  expect(await start(world)).toMatchObject({ requeued: 1 });
  expect([await world.stateOf(first), await world.stateOf(second)]).toEqual(["queued", "queued"]);
});
