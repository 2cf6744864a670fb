import { existsSync, mkdirSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { loopNames } from "../../src/config/loop-names.ts";
import { addMs, hours, minutes, seconds } from "../../src/domain/time.ts";
import type { LeaseHolder } from "../../src/store/port/leases.ts";
import { type ConfiguredLoops, configuredLoops } from "../support/configured-loops.ts";
import type { RepairWorld } from "../support/repair-world.ts";
import { claimOne, startRun, success } from "../support/store-rows.ts";

const days = (n: number): number => hours(24 * n);

async function hold({ store, now }: RepairWorld, name: string, holder: LeaseHolder): Promise<void> {
  const limits = { ttlMs: hours(1), maxHoldMs: hours(2), timeoutAt: addMs(now, 1) };
  expect(await store.leases.acquire({ name, ticket: name, holder, ...limits })).toMatchObject({ kind: "held" });
}

/** Time in which its sessions go on renewing. */
async function later(world: RepairWorld, ms: number): Promise<void> {
  world.advance(ms);
  for (const { id } of await world.store.workers.listAlive())
    await world.store.workers.renew({ workerId: id, held: [], claimSeqReceived: 0 });
}

test.each(loopNames)("loops.%s.enabled off keeps the loop from its work", async (name) => {
  for (const enabled of [true, false]) {
    const { loops, tick } = await configuredLoops(`loops: { ${name}: { enabled: ${enabled} } }`);
    const work = vi.spyOn(loops[name], "tick");
    await tick(name);
    // The job-reaper's lease sweep has its own switch, so it is called with judging off.
    expect(work.mock.calls.filter(([context]) => context.enabled)).toHaveLength(enabled ? 1 : 0);
  }
});

describe("how runs are judged", () => {
  test("reaper.enabled off leaves the run of a dead process in running", async () => {
    const { world, pass } = await configuredLoops("reaper: { enabled: false }");
    const run = await world.running();
    world.die(run);
    await pass("job-reaper", seconds(20));
    expect(await world.stateOf(run)).toBe("running");
  });

  test("reaper.deadTicks is how many looks must find a process dead", async () => {
    const { world, tick } = await configuredLoops("reaper: { deadTicks: 4 }");
    const run = await world.running();
    world.die(run);
    const states: string[] = [];
    for (let look = 0; look < 4; look++) {
      await tick("job-reaper");
      states.push(await world.stateOf(run));
    }
    expect(states).toEqual(["running", "running", "running", "queued"]);
  });

  test("reaper.suspectRecheckMs is how soon a process that looked dead once is looked at again", async () => {
    const { world, tick } = await configuredLoops("reaper: { suspectRecheckMs: 777 }");
    world.die(await world.running());
    expect(await tick("job-reaper")).toMatchObject({ nextInMs: 777 });
  });

  test("reaper.finalizeGraceMs is how long after its exit a run is left to whoever settles it", async () => {
    const { world, tick, pass } = await configuredLoops("reaper: { finalizeGraceMs: 20s }");
    const run = await world.running();
    await world.exit(run, 0);
    await tick("job-reaper");
    await pass("job-reaper", seconds(19));
    expect(await world.stateOf(run)).toBe("running");
    await pass("job-reaper", seconds(2));
    expect(await world.stateOf(run)).toBe("done");
  });

  test("reaper.maxRunningMs is the age at which a run without limits of its own is ended", async () => {
    const { world, tick } = await configuredLoops("reaper: { maxRunningMs: 2h }");
    const run = await world.running({ queue: "mail", limits: {} });
    await tick("job-reaper");
    await later(world, hours(2) - 1);
    await tick("job-reaper");
    expect(await world.stateOf(run)).toBe("running");
    await later(world, 1);
    await tick("job-reaper");
    expect(await world.store.runs.get(run.runId)).toMatchObject({ reason: "age_ceiling" });
  });

  test("reaper.startWithinMs is how long a reserved run may stay unnamed by its worker", async () => {
    const { world, tick, pass } = await configuredLoops("reaper: { startWithinMs: 5s }");
    await world.store.jobs.enqueue({ queue: "dev", jobs: [{}] });
    const queues = [{ name: "dev", limits: {} }];
    const [run] = await world.store.runs.claim({
      claimId: "c",
      workerId: await world.worker(),
      claimSeq: 1,
      queues,
      max: 1,
      startNow: 0,
    });
    if (run === undefined) throw new Error("nothing was claimed");
    await tick("job-reaper");
    await pass("job-reaper", seconds(4));
    expect(await world.stateOf(run)).toBe("running");
    await pass("job-reaper", seconds(2));
    expect(await world.store.runs.get(run.runId)).toMatchObject({ reason: "not_named" });
  });

  test("reaper.adoptWithinMs is how long a command whose supervisor died waits for another", async () => {
    const { world, tick, pass } = await configuredLoops("reaper: { adoptWithinMs: 5s }");
    const run = await world.running({ workerId: await world.worker({ pid: 60 }) });
    world.probe.set(60, "dead");
    await tick("worker-reaper");
    await tick("job-reaper");
    await pass("job-reaper", seconds(4));
    expect(await world.stateOf(run)).toBe("running");
    await pass("job-reaper", seconds(2));
    expect(await world.store.runs.get(run.runId)).toMatchObject({ reason: "not_adopted" });
  });

  test("recovery.pinnedHostLostMs is how long the host of an item's files may be silent before its run is given up", async () => {
    const { world, tick, pass } = await configuredLoops("recovery: { pinnedHostLostMs: 45s }");
    const first = {
      kind: "next",
      stage: "work",
      queue: "dev",
      maxAttempts: 3,
      maxLosses: null,
      priority: 0,
      agent: null,
      pipelineVersion: "1",
    } as const;
    await world.store.items.add({ pipeline: "p", key: "book", dir: "book", input: "{}", first, actor: "test" });
    const run = await world.start({ queue: "dev", host: "host-b", pid: 60, workerId: await world.worker({ pid: 50, host: "host-b" }) });
    world.probe.set(60, "unknown");
    await pass("worker-reaper", seconds(35));
    await tick("job-reaper");
    expect(await world.stateOf(run)).toBe("running");
    await pass("job-reaper", seconds(20));
    expect(await world.store.runs.get(run.runId)).toMatchObject({ reason: "host_silent" });
  });

  test("recovery.recoverySpreadMs is the time over which the jobs of one event come back beyond a hundred", async () => {
    const { world, tick } = await configuredLoops("recovery: { recoverySpreadMs: 10m }");
    const workerId = await world.worker({ pid: 60, kind: "handler" });
    await world.store.jobs.enqueue({ queue: "mail", jobs: Array.from({ length: 110 }, () => ({})) });
    const queues = [{ name: "mail", limits: {} }];
    const runs = await world.store.runs.claim({ claimId: "all", workerId, claimSeq: 1, queues, max: 110, startNow: 110 });
    world.probe.set(60, "dead");
    await tick("worker-reaper");
    const jobs = await Promise.all(runs.map(({ jobId }) => world.job(jobId)));
    expect(jobs.filter(({ state }) => state === "running")).toEqual([]);
    expect(Math.max(...jobs.map(({ runAt }) => runAt - world.now))).toBe(minutes(10));
  });
});

describe("sessions and leases", () => {
  test("worker.deadAfterMs is the silence after which a session that cannot be probed is dead", async () => {
    const { world, pass } = await configuredLoops("worker: { deadAfterMs: 1m }");
    const far = await world.worker({ pid: 61, host: "host-b" });
    await pass("worker-reaper", seconds(59));
    expect((await world.store.workers.get(far))?.state).toBe("live");
    await pass("worker-reaper", seconds(2));
    expect((await world.store.workers.get(far))?.state).toBe("dead");
  });

  test("worker.fenceKillAfterMs is when a run on a host that cannot be probed counts as stopped", async () => {
    const { world, tick, pass } = await configuredLoops("worker: { fenceKillAfterMs: 40s }");
    const workerId = await world.worker({ pid: 61, host: "host-b" });
    const run = await world.running({ host: "host-b", workerId });
    await pass("worker-reaper", seconds(31));
    await world.store.jobs.cancel(run.jobId, { actor: "test", reason: "test", stopBy: world.now });
    await pass("stopper", seconds(39));
    expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
    world.advance(seconds(1));
    await tick("stopper");
    expect((await world.job(run.jobId)).blockedBy).toBeNull();
  });

  test("leases.reclaimEnabled off leaves the lease of a dead holder taken", async () => {
    const { world, pass } = await configuredLoops("leases: { reclaimEnabled: false }");
    await hold(world, "merge/web", { kind: "process", process: world.processOf(77) });
    world.probe.set(77, "dead");
    await pass("job-reaper", seconds(10));
    expect((await world.store.leases.list({ limit: 10 })).map(({ state }) => state)).toEqual(["held"]);
  });

  test("leases.scope names the leases that are looked after, and no other is", async () => {
    const { world, pass } = await configuredLoops("leases: { scope: [merge/web] }");
    for (const name of ["merge/web", "merge/app"]) await hold(world, name, { kind: "process", process: world.processOf(77) });
    world.probe.set(77, "dead");
    await pass("job-reaper", seconds(10));
    const states = (await world.store.leases.list({ limit: 10 })).map(({ name, state }) => [name, state]);
    expect(Object.fromEntries(states)).toEqual({ "merge/web": "free", "merge/app": "held" });
  });
});

describe("how long what is finished is kept", () => {
  const pipelines = "pipelines: { p: { stages: { work: { run: { command: ['true'] }, timeout: 1h } } } }";

  /** A finished item with a work directory and a run folder, and how long each of these stayed. */
  async function finished({ world }: ConfiguredLoops) {
    const item = await world.addItem("p", "book");
    const run = await claimOne(world.store, { queues: ["p/work"], workerId: await world.worker() });
    await startRun(world.store, run);
    const runDir = join(world.world.paths.runsDir, String(run.runId));
    mkdirSync(runDir);
    utimesSync(runDir, world.now / 1000, world.now / 1000);
    await world.store.runs.settle([success(run, { advance: { kind: "finish" } })]);
    return {
      row: async () => (await world.store.items.get(item.id)) !== undefined,
      work: async () => existsSync(join(world.world.paths.workDir, "book")),
      log: async () => existsSync(runDir),
    };
  }

  test.each([
    ["retention.finishedRowsMs", "row", 9, "retention: { finishedRowsMs: 9d }"],
    ["retention.logsMs", "log", 3, "retention: { logsMs: 3d }"],
    ["retention.workDirsDays", "work", 2, "retention: { workDirsDays: 2 }"],
  ] as const)("%s is how long the %s is kept: %s days here", async (_key, what, keptDays, yaml) => {
    const configured = await configuredLoops(`${yaml}\n${pipelines}`);
    const is = await finished(configured);
    configured.world.advance(days(keptDays) - seconds(1));
    await configured.tick("retention");
    expect(await is[what]()).toBe(true);
    configured.world.advance(seconds(2));
    await configured.tick("retention");
    expect(await is[what]()).toBe(false);
  });

  test("retention.duplicatesMs is how long the row of a decided duplicate is kept", async () => {
    const configured = await configuredLoops(`retention: { duplicatesMs: 2d }\n${pipelines}`);
    const { world, tick } = configured;
    const item = await world.addItem("p", "book");
    const { duplicates } = world.store;
    const path = join(world.world.baseDir, "nowhere");
    const id = await duplicates.add({ pipeline: "p", key: "book", existingItemId: item.id, sizeBytes: 1, fileName: "book", path });
    await duplicates.decide(id, "discard", "ana");
    await duplicates.finish(id);
    world.advance(days(2) - seconds(1));
    await tick("retention");
    expect(await duplicates.get(id)).toBeDefined();
    world.advance(seconds(2));
    await tick("retention");
    expect(await duplicates.get(id)).toBeUndefined();
  });
});
