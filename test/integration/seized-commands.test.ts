import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { asHostId, asRunId, type RunId } from "../../src/domain/ids.ts";
import { runTaskName } from "../../src/domain/run-task.ts";
import { itemDirOf, runDirOf } from "../../src/files/data-paths.ts";
import { readExitRecord } from "../../src/processes/run-folder/exit-record.ts";
import { formatMarker, markerVariable } from "../../src/processes/run-folder/run-marker.ts";
import { forever, lives, untilRun } from "../support/command-runs.ts";
import { type CommandWorld, commandWorld } from "../support/command-world.ts";
import { present } from "../support/present.ts";
import { until } from "../support/until.ts";
import { writtenPid } from "../support/written-pid.ts";

type Item = Awaited<ReturnType<CommandWorld["addItem"]>>;

/** Ends a run as a judge elsewhere does that could see nothing of it: lost by silence, and past its fence its job is free. */
async function seize(world: CommandWorld, item: Item, runId: RunId): Promise<void> {
  const { store } = world;
  const { id: jobId } = await world.job(item.id);
  const run = present(await store.runs.get(runId));
  const lost = {
    runId,
    ownerEpoch: run.ownerEpoch,
    jobId,
    outcome: "lost",
    reason: "session_silent",
    message: "silent",
    actor: "elsewhere",
  } as const;
  const [settled] = await store.runs.settle([{ ...lost, retry: { jitter: 0 }, stopBy: store.now() }]);
  expect(settled).toMatchObject({ kind: "ok" });
  expect(await store.runs.clearBlocks([{ jobId, runId, proof: "its fence has passed", actor: "elsewhere" }])).toEqual([true]);
}

/** A command at work under a worker that takes no other. */
async function atWork(script = forever, options: Parameters<typeof commandWorld>[1] = {}) {
  const world = await commandWorld(script, options);
  const item = await world.addItem();
  const { worker, workerId, start } = await world.worker({ concurrency: 1 });
  start();
  const run = await untilRun(world, item, "started");
  const { pid } = await world.command(run.id);
  return { world, item, worker, workerId, runId: run.id, pid };
}

const untilGone = async (world: CommandWorld, pid: number): Promise<void> => {
  await until(() => !lives(world, pid), { everyMs: 5, what: `process ${pid} to end` });
};

const stoppedRuns = ({ world }: CommandWorld): unknown[] =>
  world.events.filter(({ name }) => name === "run.strays_stopped").map(({ data }) => (data as { readonly runId: RunId }).runId);

describe("a supervisor that is told that its run is lost", () => {
  test("stops the command itself when the run was ended elsewhere and its job is free already [F-9.6]", async () => {
    const { world, item, worker, runId, pid } = await atWork(`trap '' TERM; ${forever}`);
    await seize(world, item, runId);
    worker.lose(runId);
    await untilGone(world, pid);
    await until(() => stoppedRuns(world).includes(runId), { everyMs: 5 });
  });

  test("stops it too when it learns of it by a write of its own that comes too late [F-9.6]", async () => {
    const world = await commandWorld(forever);
    const item = await world.addItem();
    // The run is taken away before the command's own process is on record.
    const { start } = await world.worker({
      concurrency: 1,
      backend: (direct) => ({
        command: async (workerId, command) => {
          await seize(world, item, command.runId);
          return await direct.command(workerId, command);
        },
      }),
    });
    start();
    const run = await untilRun(world, item, "ended");
    await untilGone(world, (await world.command(run.id)).pid);
  });

  test("leaves the command alone when the run lives on under another supervisor [F-9.6]", async () => {
    const { world, item, worker, runId, pid } = await atWork();
    const other = await world.worker();
    const { ownerEpoch } = await world.runOf(item);
    const checkAt = world.store.now();
    const taken = await world.store.runs.takeOver({
      runId,
      ownerEpoch,
      workerId: other.workerId,
      actor: "test",
      reason: "taken over",
      checkAt,
    });
    expect(taken).toBe(ownerEpoch + 1);
    worker.lose(runId);
    await world.stopBlocked();
    expect([lives(world, pid), stoppedRuns(world)]).toEqual([true, []]);
  });
});

describe("go", () => {
  /** A worker whose host stands still for `ms` between the commit of a start and its answer, while `meanwhile` happens. */
  async function startAcross(ms: number, meanwhile: (world: CommandWorld, item: Item, runId: RunId) => Promise<void>) {
    const world = await commandWorld('touch "$WAKEFUL_WORK_DIR/ran"');
    const item = await world.addItem();
    const runs: RunId[] = [];
    let hostTime = 0;
    const { start } = await world.worker({
      concurrency: 1,
      hostTime: () => hostTime,
      backend: (direct) => ({
        start: async (workerId, starts) => {
          const answers = await direct.start(workerId, starts);
          for (const { runId } of starts) {
            if (runs.length === 0) {
              hostTime += ms;
              await meanwhile(world, item, runId);
            }
            runs.push(runId);
          }
          return answers;
        },
      }),
    });
    start();
    return { world, item, runs, ran: join(itemDirOf(world.world.paths, item.dir), "ran") };
  }

  test("is not said for a run that was taken away while its host stood still: nothing of it is executed [F-9.6]", async () => {
    const { world, item, runs, ran } = await startAcross(60_000, async (at, seized, runId) => {
      await at.store.upkeep.setQueuePaused({ queues: ["p/work"], paused: true, actor: "test" });
      await seize(at, seized, runId);
    });
    const runId = await until(() => runs[1], { everyMs: 5, what: "the start to be asked for again" });
    const record = () => readExitRecord({ runDir: runDirOf(world.world.paths, runId), runId });
    await until(async () => (await record()).kind === "nogo", { everyMs: 5, what: "the wrapper to be sent away" });
    expect([runs, existsSync(ran), (await world.runOf(item)).outcome]).toEqual([[runId, runId], false, "lost"]);
  });

  test("is said after a long standstill too when the run is still ours, and at once without one [F-9.6]", async () => {
    for (const [ms, asked] of [
      [60_000, 2],
      [10_000, 1],
    ] as const) {
      const { world, item, runs } = await startAcross(ms, async () => undefined);
      await untilRun(world, item, "ended");
      expect(await world.runOf(item)).toMatchObject({ outcome: "succeeded" });
      expect(runs).toHaveLength(asked);
    }
  });
});

describe("each minute a host looks at what bears its mark", () => {
  test("and stops what runs for an ended run whose supervisor died before it could [F-9.6]", async () => {
    const { world, item, worker, runId, pid } = await atWork();
    await worker.leave();
    await world.stopBlocked();
    await seize(world, item, runId);
    await world.stopBlocked();
    expect(lives(world, pid), "it looked less than a minute ago").toBe(true);
    world.advance(60_000);
    await world.stopBlocked();
    expect([lives(world, pid), stoppedRuns(world)]).toEqual([false, [runId]]);
  });

  test("and leaves alone what its stage lets live on, what bears another mark, and what no run is known of [F-9.6]", async () => {
    const { world, item, pid: command } = await atWork('sleep 600 & echo $! > "$WAKEFUL_WORK_DIR/pid"', { stage: { strays: "leave" } });
    await untilRun(world, item, "ended");
    const left = await writtenPid(join(itemDirOf(world.world.paths, item.dir), "pid"));
    const { id: runId } = await world.runOf(item);
    expect(lives(world, command)).toBe(false);
    const marks = [
      { runId, hostId: asHostId("another.host") },
      { runId: asRunId(999), hostId: world.host.hostId },
    ];
    const strangers = marks.map((mark) => {
      const child = spawn("sleep", ["600"], { env: { PATH: process.env.PATH, [markerVariable]: formatMarker(mark) } });
      onTestFinished(() => void child.kill("SIGKILL"));
      return present(child.pid);
    });
    await until(() => strangers.every((pid) => world.table.environmentValue(pid, markerVariable) !== undefined), { everyMs: 5 });
    await world.stopBlocked();
    expect([left, ...strangers].map((pid) => lives(world, pid))).toEqual([true, true, true]);
    expect(stoppedRuns(world)).toEqual([]);
  });

  test("and leaves a person's own command to that person [F-9.6]", async () => {
    const world = await commandWorld(forever);
    const { store, host, table } = world;
    const { workerId } = await world.worker();
    await store.jobs.ensureQueues([{ name: runTaskName, kind: "command" }]);
    const [jobId] = await store.jobs.enqueue({ queue: runTaskName, maxAttempts: 1, jobs: [{ enqueueId: "own" }] });
    const request = { claimId: "own", workerId, claimSeq: 1, queues: [{ name: runTaskName, limits: {} }], max: 1, startNow: 0 };
    const [run] = await store.runs.claim(request);
    const { runId, ownerEpoch } = present(run);
    const mark = formatMarker({ runId, hostId: host.hostId });
    const child = spawn("sleep", ["600"], { env: { PATH: process.env.PATH, [markerVariable]: mark } });
    onTestFinished(() => void child.kill("SIGKILL"));
    const pid = present(child.pid);
    await until(() => table.environmentValue(pid, markerVariable) !== undefined, { everyMs: 5 });
    const lost = { runId, ownerEpoch, jobId: present(jobId), outcome: "lost", reason: "session_silent", message: "silent" } as const;
    await store.runs.settle([{ ...lost, retry: { jitter: 0 } }]);
    await world.stopBlocked();
    expect(lives(world, pid)).toBe(true);
  });
});
