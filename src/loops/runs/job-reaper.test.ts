import { describe, expect, test, vi } from "vitest";
import { chain } from "../../../test/support/loop-world.ts";
import { RepairWorld, wholeDay } from "../../../test/support/repair-world.ts";
import { addMs } from "../../domain/time.ts";
import type { PipelineDefinition } from "../../pipelines/definition.ts";

const seconds = (n: number): number => n * 1000;
const ceiling = (s: number) => ({ maxRunningMs: seconds(s) });
const gate = { kind: "file", path: "green", anyAge: true } as const;

/** Without a delay before the next attempt. */
const atOnce = { retry: { minMs: 0, maxMs: 0, factor: 2 } };

/** A delivery pipeline: the developer leaves architecture, into development. */
function delivery(stage: Partial<PipelineDefinition["stages"][string]> = {}): PipelineDefinition {
  return chain("d", ["architecture", "development"], { stage: { labels: { agent: "developer" }, attempts: 2, gate, ...stage } });
}

describe("a dead process", () => {
  test("TC-01: is looked at twice before its job goes back, without a restart [B-1, B-22, B-24, B-76]", async () => {
    const world = await RepairWorld.open();
    const run = await world.running({ agent: "developer", repo: "web" });
    world.die(run);
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    expect(world.world.eventsOf("run.suspected")).toMatchObject([{ runId: run.runId, streak: 1, of: 2, pid: run.pid }]);
    expect(world.details()).toMatchObject({ reaped_total: 0, last_reaped: null });
    await world.tick();
    expect(await world.stateOf(run)).toBe("queued");
    expect(world.details()).toMatchObject({ reaped_total: 1, last_reaped: { job_id: run.jobId, agent: "developer", outcome: "queued" } });
  });

  test("asks for the second look 250 ms after the first", async () => {
    const world = await RepairWorld.open();
    world.die(await world.running());
    expect((await world.tick()).nextInMs).toBe(250);
  });

  test("TC-02: a live process under the ceiling is never reaped [B-29]", async () => {
    const world = await RepairWorld.open();
    const young = await world.running({ limits: ceiling(3600) });
    world.advance(seconds(10));
    for (let tick = 0; tick < 5; tick++) await world.tick();
    expect(await world.stateOf(young)).toBe("running");
    world.advance(seconds(1790));
    await world.tick();
    expect(await world.stateOf(young)).toBe("running");
    expect(world.details()).toMatchObject({ reaped_total: 0 });
  });

  test("TC-03: one live answer restarts the count; one look at the process per tick [B-25]", async () => {
    const world = await RepairWorld.open();
    world.settings.thresholds = { ...world.settings.thresholds, deadTicks: 3 };
    const run = await world.running();
    const observe = vi.spyOn(world.probe, "observe");
    const answers = ["dead", "dead", "alive", "dead", "dead", "dead"] as const;
    for (const [at, answer] of answers.entries()) {
      expect(await world.stateOf(run)).toBe("running");
      world.probe.set(run.pid, answer);
      if (answer === "dead") world.probe.set(run.wrapperPid, "dead");
      observe.mockClear();
      world.advance(seconds(1));
      await world.tick();
      expect(
        observe.mock.calls.filter(([identity]) => identity.pid === run.pid),
        `tick ${at + 1}`,
      ).toHaveLength(1);
    }
    expect(await world.stateOf(run)).toBe("queued");
  });

  test("dead_ticks below 1 acts as 1 [B-23]", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    world.settings.thresholds = { ...world.settings.thresholds, deadTicks: 0 };
    await world.tick();
    expect(await world.stateOf(run)).toBe("queued");
  });

  test("a wrapper that is still writing the exit record gets 120 s for it, and its record is believed [F-9.3]", async () => {
    const world = await RepairWorld.open();
    const [recorded, stuck] = [await world.running(), await world.running()];
    for (const run of [recorded, stuck]) world.probe.set(run.pid, "dead");
    for (let tick = 0; tick < 20; tick++) {
      await world.tick();
      world.advance(250);
    }
    expect([await world.stateOf(recorded), await world.stateOf(stuck)]).toEqual(["running", "running"]);
    world.leaveRecord(recorded, 0);
    await world.tick();
    expect(await world.store.runs.get(recorded.runId)).toMatchObject({ state: "exited", exitCode: 0 });
    world.advance(seconds(114));
    await world.tick();
    expect(await world.stateOf(stuck)).toBe("running");
    world.advance(seconds(1));
    await world.tick();
    expect(await world.stateOf(stuck)).toBe("queued");
    expect(await world.store.runs.get(stuck.runId)).toMatchObject({ outcome: "lost", exitCode: null });
  });

  test("an exit record that appears between the look and the flip is recorded instead", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    await world.tick();
    // Runs after the tick has read the disk, and before it ends the run.
    const { exitRecordOf } = world.loops.observer;
    vi.spyOn(world.loops.observer, "exitRecordOf").mockImplementationOnce(async (live) => {
      const found = await exitRecordOf.call(world.loops.observer, live);
      world.leaveRecord(run, 3);
      return found;
    });
    await world.tick();
    expect(await world.store.runs.get(run.runId)).toMatchObject({ state: "exited", exitCode: 3, outcome: null });
  });

  test("a wrapper that died before its command recorded itself has executed nothing: unspent", async () => {
    const world = await RepairWorld.open();
    const run = await world.running({ command: false });
    world.die(run);
    await world.tick();
    await world.tick();
    expect(await world.job(run.jobId)).toMatchObject({ state: "queued", attempts: 0 });
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "never_started", reason: "wrapper_dead", spent: "nothing" });
  });

  test("no process: tier 1 does not apply; under the ceiling the job is left alone [B-26, B-77]", async () => {
    const world = await RepairWorld.open();
    await world.store.jobs.enqueue({ queue: "dev", jobs: [{}] });
    const claimed = await world.claim("dev");
    if (claimed === undefined) throw new Error("not claimed");
    const { runId, ownerEpoch } = claimed;
    await world.store.runs.start([{ runId, ownerEpoch, startedAt: world.now, limits: wholeDay, checkAt: world.now }]);
    for (let tick = 0; tick < 5; tick++) {
      world.advance(seconds(60));
      await world.tick();
    }
    expect(await world.stateOf(claimed)).toBe("running");
    expect(world.details()).toMatchObject({ suspects: 0 });
  });

  test("a process that is off the record clears the streak: what comes back begins at one [B-26]", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    await world.tick();
    expect(world.world.eventsOf("run.suspected")).toMatchObject([{ streak: 1 }]);
    const { listLive } = world.seen.runs;
    world.seen.runs.listLive = async (ids) => (await listLive(ids)).map((live) => ({ ...live, process: null }));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    expect(world.details()).toMatchObject({ suspects: 0 });
    world.seen.runs.listLive = listLive;
    await world.tick();
    expect(world.world.eventsOf("run.suspected")).toMatchObject([{ streak: 1 }, { streak: 1 }]);
    expect(await world.stateOf(run)).toBe("running");
    await world.tick();
    expect(await world.stateOf(run)).toBe("queued");
  });

  test("a process of another host is unknown, never dead [B-G5]", async () => {
    const world = await RepairWorld.open();
    const workerId = await world.worker({ host: "host-b" });
    const run = await world.running({ workerId, host: "host-b" });
    world.die(run);
    for (let tick = 0; tick < 5; tick++) await world.tick();
    expect(await world.stateOf(run)).toBe("running");
  });

  test("streaks of jobs that no longer run are dropped, and losing all at a restart only delays [B-27]", async () => {
    const world = await RepairWorld.open();
    const [gone, kept] = [await world.running(), await world.running()];
    world.die(gone);
    world.die(kept);
    await world.tick();
    expect(world.details()).toMatchObject({ suspects: 2 });
    await world.store.jobs.cancel(gone.jobId, { actor: "test", reason: "test", stopBy: world.now });
    world.restart();
    await world.tick();
    expect(world.details()).toMatchObject({ suspects: 1 });
    expect(await world.stateOf(kept)).toBe("running");
    await world.store.jobs.cancel(kept.jobId, { actor: "test", reason: "test", stopBy: world.now });
    await world.tick();
    expect(world.details()).toMatchObject({ suspects: 0, reaped_total: 0 });
  });

  test("a dry run says what it would do, does nothing, and counts as no tick", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    for (let tick = 0; tick < 3; tick++)
      expect((await world.tick({ dryRun: true })).would).toMatchObject([expect.stringContaining("looks dead (1 of 2")]);
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    const report = await world.tick({ dryRun: true });
    expect(report.would).toEqual([`job ${run.jobId}, attempt 1: dead pid ${run.pid} (2 looks)`]);
    expect(await world.stateOf(run)).toBe("running");
  });
});

describe("age", () => {
  test("TC-04: over the ceiling a run ends in one tick, with a live process and without one [B-28]", async () => {
    const world = await RepairWorld.open([delivery(atOnce)]);
    await world.addItem("d", "live");
    await world.addItem("d", "pidless");
    const live = await world.start({ queue: "d/architecture", limits: ceiling(100) });
    const pidless = await world.start({ queue: "d/architecture", limits: ceiling(100), command: false });
    world.advance(seconds(500));
    await world.tick();
    expect(await world.stateOf(live)).toBe("queued");
    expect(await world.stateOf(pidless)).toBe("queued");
    expect(world.details()).toMatchObject({ reaped_total: 2 });
    // Its old process may live, so its job is queued but not claimable until that is stopped.
    expect(await world.job(live.jobId)).toMatchObject({ blockedBy: live.runId });
    expect(await world.claim("d/architecture")).toBeUndefined();
  });

  test("the ceiling also applies while a death or a finaliser is deferred [B-30]", async () => {
    const world = await RepairWorld.open();
    const suspect = await world.running({ limits: ceiling(100), maxAttempts: 3 });
    world.die(suspect);
    world.advance(seconds(100));
    await world.tick();
    expect(await world.stateOf(suspect)).toBe("scheduled");
    const exited = await world.running({ queue: "single", limits: ceiling(100) });
    world.advance(seconds(99));
    await world.exit(exited, 1);
    world.advance(seconds(1));
    await world.store.runs.moveChecks([{ ...exited, checkAt: world.now }]);
    await world.tick();
    expect(await world.stateOf(exited)).toBe("scheduled");
  });

  test("max_concurrency 1: a zombie holds the others up only until it is reaped [B-2]", async () => {
    const world = await RepairWorld.open();
    const zombie = await world.running({ queue: "single" });
    await world.store.jobs.enqueue({ queue: "single", jobs: [{}] });
    world.die(zombie);
    expect(await world.claim("single")).toBeUndefined();
    await world.tick();
    await world.tick();
    expect(await world.claim("single")).toBeDefined();
  });
});

describe("who else may be at work", () => {
  test("TC-06b: a flip of a job that is not running changes nothing [B-33, B-G1]", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    await world.tick();
    await world.tick();
    const before = await world.job(run.jobId);
    const { runId, ownerEpoch, jobId } = run;
    const settlement = { runId, ownerEpoch, jobId, outcome: "lost", reason: "dead_pid", message: "dead", retry: { jitter: 0 } } as const;
    expect(await world.store.runs.settle([settlement])).not.toMatchObject([{ kind: "ok" }]);
    expect(await world.job(run.jobId)).toEqual(before);
  });

  test("TC-07: with both switches off nothing is touched and nothing counted [B-12]", async () => {
    const world = await RepairWorld.open();
    Object.assign(world.settings, { enabled: false, reclaimEnabled: false });
    const run = await world.running();
    world.die(run);
    world.advance(seconds(99_999));
    for (let tick = 0; tick < 3; tick++) await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    expect(world.details()).toMatchObject({ reaped_total: 0, lease_reclaimed_total: 0 });
    expect(world.loops.runner.snapshot()).toMatchObject({ enabled: false, ticks: 3, seen: 0, settled: 0 });
  });

  test("reaper_enabled = false stops the scan alone: the lease sweep has its own switch [B-10]", async () => {
    const world = await RepairWorld.open();
    world.settings.enabled = false;
    const run = await world.running();
    world.die(run);
    const holder = { kind: "process", process: world.processOf(77) } as const;
    const request = { name: "merge/web", ticket: "t", holder, ttlMs: 1e6, maxHoldMs: 1e7, timeoutAt: addMs(world.now, 1) };
    expect(await world.store.leases.acquire(request)).toMatchObject({ kind: "held" });
    world.probe.set(77, "dead");
    await world.tick();
    expect(world.loops.runner.snapshot().enabled).toBe(false);
    expect(await world.stateOf(run)).toBe("running");
    expect(world.details()).toMatchObject({ lease_reclaimed_total: 1 });
  });

  test("TC-08a: one job's failure leaves that job as it was, and the others are handled [B-57]", async () => {
    const world = await RepairWorld.open();
    const [bad, good] = [await world.running(), await world.running()];
    world.die(bad);
    world.die(good);
    const { settle } = world.seen.runs;
    world.seen.runs.settle = async (settlements) => {
      if (settlements[0]?.runId === bad.runId) throw new Error("boom");
      return await settle(settlements);
    };
    await world.tick();
    const report = await world.tick();
    expect(report).toMatchObject({ settled: 1, failed: 1 });
    expect([await world.stateOf(bad), await world.stateOf(good)]).toEqual(["running", "queued"]);
    world.seen.runs.settle = settle;
    await world.tick();
    expect(await world.stateOf(bad)).toBe("queued");
  });

  test("TC-08b: a failing scan query ends neither tick nor sweep, and the time of the tick is kept [B-9, B-58]", async () => {
    const world = await RepairWorld.open();
    const order: string[] = [];
    world.seen.runs.listDue = async () => {
      order.push("scan");
      throw new Error("no such table");
    };
    const { listHeld } = world.seen.leases;
    world.seen.leases.listHeld = async (options) => {
      order.push("sweep");
      return await listHeld(options);
    };
    world.advance(seconds(1));
    await world.tick();
    expect(order).toEqual(["scan", "sweep"]);
    expect(world.loops.runner.snapshot()).toMatchObject({ lastRunAt: world.now, failures: 1, lastError: "no such table" });
  });

  test("each reap is one warning with job, agent, repo, run, pid, outcome and reason; a healthy tick says nothing [B-62, B-63]", async () => {
    const world = await RepairWorld.open();
    const run = await world.running({ agent: "developer", repo: "web" });
    await world.tick();
    const told = world.world.events.filter(({ name }) => name !== "loop.ticked").length;
    expect(told).toBe(0);
    world.die(run);
    await world.tick();
    await world.tick();
    const { jobId, runId, pid } = run;
    const reaped = {
      jobId,
      runId,
      pid,
      agent: "developer",
      repo: "web",
      outcome: "queued",
      reason: `dead pid ${pid} (2 looks)`,
    };
    expect(world.world.eventsOf("run.reaped")).toMatchObject([reaped]);
  });

  test("counters start at zero with the process, and the snapshot shows them [B-61, B-62, B-71]", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.die(run);
    await world.tick();
    await world.tick();
    expect(world.loops.runner.snapshot()).toMatchObject({
      name: "job-reaper",
      enabled: true,
      intervalMs: 50,
      lastRunAt: world.now,
      details: { reaped_total: 1, lease_reclaimed_total: 0 },
    });
    world.restart();
    expect(world.loops.runner.snapshot()).toMatchObject({ lastRunAt: null, details: { reaped_total: 0, last_reaped: null } });
  });
});

describe("an orphan", () => {
  test("is adopted at once; what cannot be adopted is stopped after the limit and goes back", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.probe.set(50, "dead");
    world.adopt = async () => false;
    await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
    await world.tick();
    expect(world.adopted).toMatchObject([{ runId: run.runId }]);
    for (let tick = 0; tick < 29; tick++) {
      world.advance(seconds(1));
      await world.tick();
    }
    expect(await world.stateOf(run)).toBe("running");
    expect(world.adopted.length).toBe(30);
    world.advance(seconds(1));
    await world.tick();
    expect(await world.job(run.jobId)).toMatchObject({ state: "queued", blockedBy: run.runId });
  });

  test("is no orphan once its supervisor lives again under another session", async () => {
    const world = await RepairWorld.open();
    const run = await world.running();
    world.probe.set(50, "dead");
    const workerId = await world.worker({ pid: 51 });
    world.adopt = async (live, reason) =>
      (await world.store.runs.takeOver({
        runId: live.id,
        ownerEpoch: live.ownerEpoch,
        workerId,
        actor: "worker",
        reason,
        checkAt: addMs(world.now, 60_000),
      })) !== undefined;
    await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
    await world.tick();
    world.advance(seconds(40));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    expect(world.adopted).toHaveLength(1);
    expect(world.details()).toMatchObject({ suspects: 0 });
  });
});
