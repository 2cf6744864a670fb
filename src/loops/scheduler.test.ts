import { expect, test } from "vitest";
import { type LoopWorld, loopWorld } from "../../test/support/loop-world.ts";
import { createSchedulerLoop, type SchedulerDeps } from "./scheduler.ts";

const scheduler = (world: LoopWorld, overrides: Partial<SchedulerDeps> = {}) =>
  createSchedulerLoop({ jobs: world.store.jobs, now: () => world.store.now(), ...overrides });

const delayed = async (world: LoopWorld, delayMs: number, count = 1): Promise<void> => {
  await world.store.jobs.enqueue({ queue: "p/prep", delayMs, jobs: Array.from({ length: count }, () => ({})) });
};
const queued = async (world: LoopWorld): Promise<number> => (await world.store.upkeep.listJobs({ states: ["queued"], limit: 100 })).length;

test("a delayed job is claimable when its time has come, and not before", async () => {
  const world = await loopWorld();
  await delayed(world, 5_000);
  expect(await world.tick(scheduler(world))).toMatchObject({ settled: 0, nextInMs: 5_000 });
  world.clock.advance(4_999);
  await world.tick(scheduler(world));
  expect(await queued(world)).toBe(0);
  world.clock.advance(1);
  expect(await world.tick(scheduler(world))).toMatchObject({ settled: 1 });
  expect(await queued(world)).toBe(1);
});

test("the scheduler looks at least once a minute, whatever is due next", async () => {
  const world = await loopWorld();
  expect(await world.tick(scheduler(world))).toMatchObject({ nextInMs: 60_000 });
  await delayed(world, 3_600_000);
  expect(await world.tick(scheduler(world))).toMatchObject({ nextInMs: 60_000 });
});

test("a tick is bounded, and the next follows at once while more is due", async () => {
  const world = await loopWorld();
  await delayed(world, 1_000, 7);
  world.clock.advance(1_000);
  const loop = scheduler(world, { pageSize: 2, pagesMax: 2 });
  expect(await world.tick(loop)).toMatchObject({ settled: 4, nextInMs: 0 });
  expect(await world.tick(loop)).toMatchObject({ settled: 3, nextInMs: 60_000 });
  expect(await queued(world)).toBe(7);
});

test("a dry run moves nothing", async () => {
  const world = await loopWorld();
  await delayed(world, 1_000);
  world.clock.advance(1_000);
  await world.tick(scheduler(world), { dryRun: true });
  expect(await queued(world)).toBe(0);
});
