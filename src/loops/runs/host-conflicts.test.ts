import { expect, test } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { seconds } from "../../domain/time.ts";

const clone = async (world: RepairWorld) =>
  await world.store.workers.register({
    name: "clone",
    kind: "command",
    process: { ...world.processOf(9), bootId: "another-boot" },
    concurrency: 1,
    queues: [],
  });

test("a cloned host's pids prove nothing from the first look on; a person is told of it once, with what to do", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker();
  const run = await world.running({ workerId });
  const cloneId = await clone(world);
  world.die(run);
  for (let tick = 0; tick < 5; tick++) {
    await world.tick();
    world.advance(seconds(10));
    for (const id of [workerId, cloneId]) await world.store.workers.renew({ workerId: id, held: [], claimSeqReceived: 9 });
  }
  for (let tick = 0; tick < 3; tick++) await world.tick();
  expect(await world.stateOf(run)).toBe("running");
  expect(world.world.eventsOf("host.conflict_found")).toEqual([{ hostId: world.host.hostId }]);
  expect(await world.alertCauses()).toEqual([`host_conflict:${world.host.hostId}`]);
  const [alert] = await world.store.outbox.due(10);
  expect(alert?.payload).toContain("remove `host-id` from its data directory");
});

test("ticks with nothing to judge read the living sessions now and then; a tick with a run always does, and trusts no clone", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker();
  let looks = 0;
  const { listHostConflicts } = world.seen.workers;
  world.seen.workers.listHostConflicts = async (since) => {
    looks++;
    return await listHostConflicts(since);
  };
  for (let tick = 0; tick < 9; tick++) {
    await world.tick();
    world.advance(seconds(1));
  }
  expect(looks).toBe(1);
  await clone(world);
  const run = await world.running({ workerId });
  world.die(run);
  for (let tick = 0; tick < 3; tick++) await world.tick();
  expect(looks).toBe(4);
  expect(await world.stateOf(run)).toBe("running");
});

test("a machine that has just rebooted is no cloned one: nobody is told", async () => {
  const world = await RepairWorld.open();
  const rebooted = await clone(world);
  await world.worker();
  for (let tick = 0; tick < 5; tick++) {
    await world.tick();
    world.advance(seconds(10));
    await world.store.workers.renew({ workerId: rebooted, held: [], claimSeqReceived: 0 });
  }
  expect(world.world.eventsOf("host.conflict_found")).toEqual([]);
  expect(await world.alertCauses()).toEqual([]);
});
