import { expect, test } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";

const pageSize = 500;
const seconds = (n: number): number => n * 1000;

/** Starts `count` handler runs of plain jobs together. */
async function started(world: RepairWorld, count: number, maxRunningMs: number) {
  await world.store.jobs.enqueue({ queue: "mail", jobs: Array.from({ length: count }, () => ({})) });
  const workerId = await world.worker({ kind: "handler" });
  const queues = [{ name: "mail", limits: { maxRunningMs } }];
  return await world.store.runs.claim({ claimId: `${count} runs`, workerId, claimSeq: 1, queues, max: count, startNow: count });
}

test("a page of runs whose gates are being read hides no other due run, and is not read in every tick", async () => {
  const world = await RepairWorld.open();
  const runs = await started(world, pageSize, seconds(86_400));
  for (const { runId, ownerEpoch } of runs) await world.store.runs.recordExit({ runId, ownerEpoch, exitCode: 0, checkAt: world.now });
  const [overdue] = await started(world, 1, seconds(300));
  if (overdue === undefined) throw new Error("nothing was claimed");
  world.advance(seconds(301));
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  world.loops.finaliser.finalise = async () => {
    await answered;
    return { kind: "wait", why: "it took long", readAgainAt: world.now, pendingSince: world.now };
  };
  // Not `world.tick`, which waits for the gates.
  const tick = async () => await world.loops.runner.tickOnce();
  expect(await tick()).toMatchObject({ seen: pageSize, nextInMs: 0 });
  expect(await tick()).toMatchObject({ seen: 0, nextInMs: 0 });
  const third = await tick();
  expect(third).toMatchObject({ seen: 1, settled: 1 });
  expect(third.nextInMs).toBeUndefined();
  expect(await world.job(overdue.jobId)).not.toMatchObject({ state: "running" });
  answer();
  await world.loops.reaper.idle();
});

test("a page of runs that cannot be ended waits for the next tick's time", async () => {
  const world = await RepairWorld.open();
  await started(world, pageSize, seconds(10));
  world.advance(seconds(10));
  const { settle } = world.seen.runs;
  world.seen.runs.settle = () => Promise.reject(new Error("the disk is full"));
  const report = await world.tick();
  expect(report).toMatchObject({ seen: pageSize, settled: 0, failed: pageSize });
  expect(report.nextInMs).toBeUndefined();
  world.seen.runs.settle = settle;
  expect(await world.tick()).toMatchObject({ settled: pageSize, nextInMs: 0 });
});

test("between changes no more is looked at than what is due or suspect, and a round goes on over several ticks", async () => {
  const world = await RepairWorld.open();
  await world.tick();
  const shorterGrace = () => {
    world.settings.thresholds = { ...world.settings.thresholds, finalizeGraceMs: seconds(1) };
  };
  await world.store.jobs.enqueue({ queue: "mail", jobs: Array.from({ length: 1001 }, () => ({})) });
  const workerId = await world.worker({ kind: "handler" });
  await world.store.runs.claim({
    claimId: "many",
    workerId,
    claimSeq: 1,
    queues: [{ name: "mail", limits: { maxRunningMs: seconds(86_400) } }],
    max: 1000,
    startNow: 1000,
  });
  expect(await world.tick()).toMatchObject({ seen: 0 });
  shorterGrace();
  expect(await world.tick({ dryRun: true }), "a dry run begins no round").toMatchObject({ seen: 0 });
  expect(await world.tick()).toMatchObject({ seen: 500, nextInMs: 0 });
  expect(await world.tick()).toMatchObject({ seen: 500, nextInMs: 0 });
  expect(await world.tick()).toMatchObject({ seen: 0 });
  shorterGrace();
  expect(await world.tick(), "the same values again are no change").toMatchObject({ seen: 0 });
});
