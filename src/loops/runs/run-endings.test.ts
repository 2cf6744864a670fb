import { describe, expect, test, vi } from "vitest";
import { chain } from "../../../test/support/loop-world.ts";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { until } from "../../../test/support/until.ts";
import { addMs } from "../../domain/time.ts";
import type { PipelineDefinition } from "../../pipelines/definition.ts";
import { PipelineRegistry } from "../../pipelines/registry.ts";

const seconds = (n: number): number => n * 1000;
const gate = { kind: "file", path: "green", anyAge: true } as const;

/** A delivery pipeline: the developer leaves architecture, into development. */
function delivery(stage: Partial<PipelineDefinition["stages"][string]> = {}): PipelineDefinition {
  return chain("d", ["architecture", "development"], { stage: { labels: { agent: "developer" }, attempts: 2, gate, ...stage } });
}

/** Two agents: the developer leaves one stage, the deployer two in a row. */
function deployment(): PipelineDefinition {
  const agents = { architecture: "developer", testing: "deployer", "deploy-staging": "deployer", release: undefined } as const;
  const definition = chain("d", Object.keys(agents), { stage: { attempts: 2, gate } });
  const stages = Object.entries(agents).map(([name, agent]) => {
    const stage = definition.stages[name];
    if (stage === undefined) throw new Error(`there is no stage ${name}`);
    return [name, { ...stage, labels: agent === undefined ? {} : { agent } }] as const;
  });
  return { ...definition, stages: Object.fromEntries(stages) };
}

describe("an exit on record", () => {
  test("each stage that an agent leaves is pending in its turn: one with two stages moves the item twice, and each job names its own agent [B-42]", async () => {
    const world = await RepairWorld.open([deployment()]);
    const item = await world.addItem("d");
    world.turnGateGreen(item);
    for (const [stage, next] of [
      ["architecture", "testing"],
      ["testing", "deploy-staging"],
      ["deploy-staging", "release"],
    ]) {
      const run = await world.start({ queue: `d/${stage}` });
      await world.exit(run, 0);
      world.advance(seconds(600));
      for (let tick = 0; tick < 3; tick++) await world.tick();
      expect(await world.store.items.get(item.id)).toMatchObject({ stage: next, state: "active" });
    }
    expect((await world.store.items.jobs(item.id)).map(({ queue, agent, state }) => [queue, agent, state])).toEqual([
      ["d/architecture", "developer", "done"],
      ["d/testing", "deployer", "done"],
      ["d/deploy-staging", "deployer", "done"],
      ["d/release", null, "queued"],
    ]);
    expect(world.world.eventsOf("run.reaped").map(({ agent }) => agent)).toEqual(["developer", "deployer", "deployer"]);
    expect(await world.store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a stage of the same agent is not the stage that was left: past one of them, the run is done and the other is not skipped [B-41, B-42]", async () => {
    const world = await RepairWorld.open([deployment()]);
    const item = await world.addItem("d");
    world.turnGateGreen(item);
    const first = await world.start({ queue: "d/architecture" });
    await world.exit(first, 0);
    world.advance(seconds(600));
    await world.tick();
    const run = await world.start({ queue: "d/testing" });
    await world.exit(run, 0);
    world.world.sql(`update items set stage = 'deploy-staging' where id = ${item.id}`);
    world.advance(seconds(600));
    await world.tick();
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "succeeded", reason: "exit0_already_advanced" });
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "deploy-staging" });
    expect(await world.store.items.jobs(item.id)).toHaveLength(2);
  });

  test("TC-05a: green gate, stage pending: done, and the item advances once [B-17, B-42, B-43, B-48, B-50]", async () => {
    const world = await RepairWorld.open([delivery()]);
    const item = await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    world.turnGateGreen(item);
    await world.exit(run, 0);
    world.advance(seconds(600));
    await world.tick();
    expect(await world.stateOf(run)).toBe("done");
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "development", state: "active" });
    const jobs = await world.store.items.jobs(item.id);
    expect(jobs.map((job) => [job.queue, job.state])).toEqual([
      ["d/architecture", "done"],
      ["d/development", "queued"],
    ]);
    for (let tick = 0; tick < 3; tick++) await world.tick();
    expect(await world.store.items.jobs(item.id)).toHaveLength(2);
    expect(await world.store.upkeep.checkInvariants()).toEqual([]);
  });

  test("TC-05b: red gate: the retry contract, no advance [B-44]", async () => {
    const world = await RepairWorld.open([delivery()]);
    const item = await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    await world.exit(run, 0);
    world.advance(seconds(600));
    await world.tick();
    expect(await world.stateOf(run)).toBe("scheduled");
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "architecture" });
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "gate_red" });
  });

  test("TC-05c: the stage is past already: done, no advance [B-41, B-73]", async () => {
    const world = await RepairWorld.open([delivery()]);
    const item = await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    await world.exit(run, 0);
    world.world.sql(`update items set stage = 'development' where id = ${item.id}`);
    world.advance(seconds(600));
    await world.tick();
    expect(await world.stateOf(run)).toBe("done");
    expect(await world.store.items.jobs(item.id)).toHaveLength(1);
  });

  test("TC-05d: exit 1 at 1 of 2 goes back, at 2 of 2 fails, with one alert; it is never done [B-34, B-35, B-37, B-38, B-40]", async () => {
    const world = await RepairWorld.open();
    const first = await world.running({ maxAttempts: 2, agent: "developer", repo: "web" });
    await world.exit(first, 1);
    world.advance(seconds(600));
    await world.tick();
    expect(await world.stateOf(first)).toBe("scheduled");
    expect(await world.alerts()).toEqual([]);
    world.advance(seconds(60));
    await world.store.jobs.promoteDue(10);
    const second = await world.start({ queue: "dev" });
    await world.exit(second, 1);
    world.advance(seconds(600));
    await world.tick();
    expect(await world.job(second.jobId)).toMatchObject({ state: "failed", attempts: 2, error: `exit code 1 (run ${second.runId})` });
    const alerts = await world.alerts();
    expect(alerts).toHaveLength(1);
    expect(alerts[0]).toContain("developer");
    await world.tick();
    expect(await world.alerts()).toHaveLength(1);
  });

  test("TC-05e: younger than the grace: left to its finaliser, one line, nothing counted [B-18, B-20, B-73]", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.probe.set(run.pid, "dead");
    await world.tick();
    await world.exit(run, 0);
    world.advance(seconds(5));
    await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
    await world.tick();
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    expect(world.details()).toMatchObject({ reaped_total: 0, suspects: 0 });
    expect(world.world.eventsOf("run.deferred")).toHaveLength(1);
    // The next check moves to the end of the grace.
    expect(await world.store.runs.get(run.runId)).toMatchObject({ checkAt: addMs(world.now, seconds(295)) });
  });

  test("TC-05f: a plain job past the grace closes by its exit code [B-17]", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    await world.exit(run, 0);
    world.advance(seconds(600));
    await world.tick();
    expect(await world.stateOf(run)).toBe("done");
  });

  test("a finaliser that is proved dead is not waited for", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    world.probe.set(50, "dead");
    world.leaveRecord(run, 0);
    await world.tick();
    await world.tick();
    expect(await world.stateOf(run)).toBe("done");
  });

  test("TC-05g: the flip is lost to another actor between gate and claim: nothing follows, nothing is counted [B-32, B-33, B-49, B-73]", async () => {
    const world = await RepairWorld.open([delivery({ finalizeGraceMs: 0 })]);
    const item = await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    world.turnGateGreen(item);
    await world.exit(run, 0);
    world.advance(1);
    const { settle } = world.seen.runs;
    world.seen.runs.settle = async (settlements) => {
      const [wanted] = settlements;
      if (wanted === undefined) throw new Error("nothing to settle");
      const { jobId, runId, ownerEpoch } = wanted;
      const requeue = {
        jobId,
        runId,
        ownerEpoch,
        outcome: "lost",
        reason: "requeued",
        message: "requeued at a start",
        retry: { jitter: 0 },
        actor: "start",
      } as const;
      expect(await settle([requeue])).toMatchObject([{ kind: "ok" }]);
      return await settle(settlements);
    };
    await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
    await world.tick();
    expect(await world.stateOf(run)).toBe("queued");
    expect(world.details()).toMatchObject({ reaped_total: 0, last_reaped: null });
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "architecture" });
    expect(await world.store.items.jobs(item.id)).toHaveLength(1);
    expect(await world.alerts()).toEqual([]);
    expect(world.world.eventsOf("run.reaped")).toEqual([]);
  });

  test("an advance that throws leaves nothing half done, and the next tick goes on [B-51, B-G3]", async () => {
    const world = await RepairWorld.open([delivery()]);
    const item = await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    world.turnGateGreen(item);
    await world.exit(run, 0);
    world.advance(seconds(600));
    const { settle } = world.seen.runs;
    world.seen.runs.settle = async () => {
      world.seen.runs.settle = settle;
      throw new Error("the disk is full");
    };
    const other = await world.running();
    world.die(other);
    await world.tick();
    expect(world.world.eventsOf("loop.subject_failed")).toMatchObject([{ subject: `job ${run.jobId}`, message: "the disk is full" }]);
    expect(await world.stateOf(run)).toBe("running");
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "architecture" });
    await world.tick();
    expect(await world.stateOf(run)).toBe("done");
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "development" });
    expect(await world.stateOf(other)).toBe("queued");
  });

  test("a gate that cannot be read is read again with patience, and only then counts as red", async () => {
    const unreadable = { kind: "file", path: "green", anyAge: true } as const;
    const world = await RepairWorld.open([delivery({ gate: unreadable, gatePatienceMs: seconds(10) })]);
    const item = await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    await world.exit(run, 0);
    const { get } = world.seen.items;
    world.seen.items.get = async () => {
      throw new Error("the store is busy");
    };
    world.advance(seconds(600));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    const readings: number[] = [];
    const pendingAt = world.now;
    for (let at = 0; at < 20 && (await world.stateOf(run)) === "running"; at++) {
      world.advance(seconds(1));
      const report = await world.tick();
      if (report.seen > 0) readings.push((world.now - pendingAt) / 1000);
    }
    expect(readings).toEqual([1, 3, 7, 10]);
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "gate_red" });
    world.seen.items.get = get;
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "architecture" });
  });

  test("patience 0: a gate that cannot be read is red at once, by its first reading [B-47]", async () => {
    const world = await RepairWorld.open([delivery({ gatePatienceMs: 0 })]);
    const item = await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    await world.exit(run, 0);
    const get = vi.fn().mockRejectedValue(new Error("the store is busy"));
    world.seen.items.get = get;
    world.advance(seconds(600));
    await world.tick();
    expect(get).toHaveBeenCalledOnce();
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "gate_red", gatePendingAt: null });
    expect(await world.stateOf(run)).toBe("scheduled");
    expect(world.world.eventsOf("run.deferred")).toEqual([]);
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "architecture" });
  });

  test("an item that could not be looked up has not advanced [B-60, B-G2]", async () => {
    const world = await RepairWorld.open([delivery()]);
    const item = await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    await world.exit(run, 0);
    world.advance(seconds(600));
    const { listDue } = world.seen.runs;
    world.seen.runs.listDue = async (options) => (await listDue(options)).map((live) => ({ ...live, itemStage: null }));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    world.seen.runs.listDue = listDue;
    world.turnGateGreen(item);
    world.advance(seconds(60));
    await world.tick();
    expect(await world.stateOf(run)).toBe("done");
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "development" });
  });

  test("a gate that is being read when the daemon stops settles nothing", async () => {
    const slow = { kind: "command", argv: ["sleep", "30"] } as const;
    const world = await RepairWorld.open([delivery({ gate: slow, gatePatienceMs: 0 })]);
    await world.addItem("d");
    const run = await world.start({ queue: "d/architecture" });
    await world.exit(run, 0);
    world.advance(seconds(600));
    world.loops.runner.start();
    await until(() => world.loops.runner.snapshot().seen === 1, { everyMs: 5 });
    await world.loops.runner.stop();
    await world.loops.reaper.idle();
    expect(await world.stateOf(run)).toBe("running");
    expect(await world.store.runs.get(run.runId)).toMatchObject({ state: "exited", gatePendingAt: null });
  });
});

test("the processes that a run left behind are stopped before its item goes on, also when its supervisor died first", async () => {
  const world = await RepairWorld.open([delivery()]);
  const item = await world.addItem("d");
  const run = await world.start({ queue: "d/architecture" });
  world.turnGateGreen(item);
  await world.exit(run, 0);
  world.probe.set(50, "dead");
  const held = vi.spyOn(world.loops.observer, "lifePipeOf").mockResolvedValue("held");
  await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
  await world.tick();
  expect(held).toHaveBeenCalled();
  const jobs = await world.store.items.jobs(item.id);
  expect(jobs.map((job) => [job.state, job.blockedBy])).toEqual([
    ["done", run.runId],
    ["queued", run.runId],
  ]);
  expect(await world.claim("d/development")).toBeUndefined();
});

test.each([
  { strays: "leave", blocked: false },
  { strays: "stop", blocked: true },
] as const)("strays: $strays of a stage that is not declared any more counts as it did when the run began", async ({ strays, blocked }) => {
  const world = await RepairWorld.open([chain("p", ["prep", "ocr"], { stage: { strays } })]);
  const item = await world.addItem();
  const run = await world.start({ queue: "p/prep" });
  await world.exit(run, 0);
  Object.assign(world.world, { registry: new PipelineRegistry([chain("p", ["ocr"])]) });
  world.restart();
  world.probe.set(50, "dead");
  vi.spyOn(world.loops.observer, "lifePipeOf").mockResolvedValue("held");
  await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
  await world.tick();
  expect((await world.store.items.jobs(item.id)).map((job) => [job.state, job.queue, job.blockedBy !== null])).toEqual([
    ["done", "p/prep", blocked],
    ["queued", "p/ocr", blocked],
  ]);
});
