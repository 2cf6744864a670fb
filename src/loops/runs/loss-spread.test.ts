import { describe, expect, test } from "vitest";
import { chain } from "../../../test/support/loop-world.ts";
import { RepairWorld, type StartedRun } from "../../../test/support/repair-world.ts";
import type { JobId } from "../../domain/ids.ts";
import { adoptOrRequeue } from "../../worker/adoption.ts";

const spreadMs = 30_000;
const supervisorPid = 50;

async function world(): Promise<RepairWorld> {
  const opened = await RepairWorld.open([chain("h", ["work"], { stage: { run: { kind: "handler", name: "work" } } })], { inMemory: true });
  opened.settings.thresholds = { ...opened.settings.thresholds, deadTicks: 1 };
  return opened;
}

async function commands(opened: RepairWorld, count: number): Promise<readonly StartedRun[]> {
  const workerId = await opened.worker({ pid: supervisorPid });
  const runs: StartedRun[] = [];
  while (runs.length < count) runs.push(await opened.running({ workerId, maxAttempts: 3 }));
  return runs;
}

/** How long each job still waits, sorted. All of them must be on their way back. */
async function delays(opened: RepairWorld, jobIds: readonly JobId[]): Promise<readonly number[]> {
  const jobs = await Promise.all(jobIds.map(async (jobId) => await opened.job(jobId)));
  expect(new Set(jobs.map(({ state }) => state))).toEqual(new Set(jobs.length > 100 ? ["queued", "scheduled"] : ["queued"]));
  return jobs.map(({ runAt, state }) => (state === "queued" ? 0 : (runAt ?? 0) - opened.now)).sort((a, b) => a - b);
}

/** The first hundred at once, the others evenly, the last one at the end of the time and none later. */
function expectSpread(found: readonly number[]): void {
  expect(found.filter((delay) => delay === 0)).toHaveLength(100);
  expect(found.at(-1)).toBe(spreadMs);
  const steps = found.slice(100).map((delay, at) => delay - (found[at + 99] ?? 0));
  const even = spreadMs / (found.length - 100);
  for (const step of steps) expect(Math.abs(step - even)).toBeLessThanOrEqual(1);
}

const jobsOf = (runs: readonly StartedRun[]): readonly JobId[] => runs.map(({ jobId }) => jobId);

describe("jobs that one event requeues are spread beyond the first 100", () => {
  test("commands that died with their host, found by the job-reaper", async () => {
    const opened = await world();
    const runs = await commands(opened, 500);
    for (const run of runs) opened.die(run);
    opened.probe.set(supervisorPid, "dead");
    await opened.tick();
    expectSpread(await delays(opened, jobsOf(runs)));
    expect(await opened.store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a hundred of them wait for nothing", async () => {
    const opened = await world();
    const runs = await commands(opened, 100);
    for (const run of runs) opened.die(run);
    await opened.tick();
    expect((await delays(opened, jobsOf(runs))).at(-1)).toBe(0);
  });

  test("deaths one by one are no event, however many they are", async () => {
    const opened = await world();
    const runs = await commands(opened, 110);
    for (const run of runs) {
      opened.die(run);
      await opened.tick();
      expect(await opened.job(run.jobId)).toMatchObject({ state: "queued" });
    }
  });

  test("the count goes on over the pages of the job-reaper", async () => {
    const opened = await world();
    const workerId = await opened.worker({ pid: supervisorPid });
    const jobIds = await opened.store.jobs.enqueue({ queue: "dev", jobs: Array.from({ length: 800 }, () => ({})) });
    const queues = [{ name: "dev", limits: {} }];
    await opened.store.runs.claim({ claimId: "all", workerId, claimSeq: 1, queues, max: 800, startNow: 0 });
    opened.probe.set(supervisorPid, "dead");
    opened.advance(30_000);
    expect(await opened.tick()).toMatchObject({ settled: 500, nextInMs: 0 });
    await opened.tick();
    const found = await delays(opened, jobIds);
    expect(found.filter((delay) => delay === 0)).toHaveLength(100);
    expect(found.at(-1)).toBe(spreadMs);
  });

  test("runs of items that a dead session held, over the pages of the worker-reaper", async () => {
    const opened = await world();
    const workerId = await opened.worker({ pid: 60, kind: "handler" });
    for (let key = 0; key < 510; key++) await opened.addItem("h", `k${key}`);
    const queues = [{ name: "h/work", limits: {} }];
    const claimed = await opened.store.runs.claim({ claimId: "all", workerId, claimSeq: 1, queues, max: 510, startNow: 510 });
    opened.probe.set(60, "dead");
    await opened.tickWorkers();
    expectSpread(
      await delays(
        opened,
        claimed.map(({ jobId }) => jobId),
      ),
    );
  });

  test("plain jobs and items of one session are one event", async () => {
    const opened = await world();
    const workerId = await opened.worker({ pid: 60, kind: "handler" });
    for (let key = 0; key < 60; key++) await opened.addItem("h", `k${key}`);
    await opened.store.jobs.enqueue({ queue: "mail", maxAttempts: 3, jobs: Array.from({ length: 60 }, () => ({})) });
    const queues = ["h/work", "mail"].map((name) => ({ name, limits: {} }));
    const claimed = await opened.store.runs.claim({ claimId: "all", workerId, claimSeq: 1, queues, max: 200, startNow: 200 });
    expect(claimed).toHaveLength(120);
    opened.probe.set(60, "dead");
    await opened.tickWorkers();
    const found = await delays(
      opened,
      claimed.map(({ jobId }) => jobId),
    );
    expect([found[99], found[100] === 0, found.at(-1)]).toEqual([0, false, spreadMs]);
  });
});

describe("jobs that a start requeues after a reboot are spread beyond the first 100", () => {
  async function reboot(opened: RepairWorld, runs: readonly StartedRun[]): Promise<number> {
    for (const { pid, wrapperPid } of runs) for (const each of [pid, wrapperPid]) opened.probe.set(each, "otherBoot");
    opened.probe.set(supervisorPid, "otherBoot");
    opened.advance(opened.settings.thresholds.deadAfterMs);
    const { probe, host, store, loops, settings } = opened;
    const report = await adoptOrRequeue({
      store,
      hostId: host.hostId,
      observer: loops.observer,
      probe,
      settings: { ...settings, recoverySpreadMs: spreadMs },
      ender: loops.ender,
      adopt: async () => false,
      stopUnknown: async () => 0,
      emit: () => undefined,
    });
    return report.requeued;
  }

  test("500 commands", async () => {
    const opened = await world();
    const runs = await commands(opened, 500);
    expect(await reboot(opened, runs)).toBe(500);
    expectSpread(await delays(opened, jobsOf(runs)));
    opened.advance(spreadMs);
    await opened.store.jobs.promoteDue(1000);
    expect(new Set(await Promise.all(jobsOf(runs).map(async (id) => (await opened.job(id)).state)))).toEqual(new Set(["queued"]));
  });

  test("100 commands at once", async () => {
    const opened = await world();
    const runs = await commands(opened, 100);
    expect(await reboot(opened, runs)).toBe(100);
    expect((await delays(opened, jobsOf(runs))).at(-1)).toBe(0);
  });

  test("one that cannot be settled leaves the others to be requeued", async () => {
    const opened = await world();
    const runs = await commands(opened, 3);
    const { settle } = opened.seen.runs;
    opened.seen.runs.settle = async (settlements) => {
      if (settlements[0]?.runId === runs[1]?.runId) throw new Error("busy");
      return await settle(settlements);
    };
    expect(await reboot(opened, runs)).toBe(2);
    opened.seen.runs.settle = settle;
    expect(await Promise.all(runs.map(async (run) => await opened.stateOf(run)))).toEqual(["queued", "running", "queued"]);
    expect(await reboot(opened, runs)).toBe(1);
  });
});
