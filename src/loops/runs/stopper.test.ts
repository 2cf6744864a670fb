import { mkdirSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { runDirOf } from "../../files/data-paths.ts";
import { makeLifePipe } from "../../processes/run-folder/life-pipe.ts";

const seconds = (n: number): number => n * 1000;
const over = { limits: { maxRunningMs: seconds(100) } };

/** A run that the reaper ended while its process lived: its job waits for the proof. */
async function blocked(options: Parameters<RepairWorld["running"]>[0] = {}) {
  const world = await RepairWorld.open();
  const run = await world.running({ ...over, ...options });
  world.advance(seconds(100));
  await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
  await world.tick();
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
  return { world, run };
}

test("a job is given back with proof: nothing of its run is left", async () => {
  const { world, run } = await blocked();
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
  expect(world.world.eventsOf("run.stopped")).toMatchObject([
    { runId: run.runId, queue: (await world.job(run.jobId)).queue, proof: expect.stringContaining("0 processes gone") },
  ]);
  expect(await world.store.upkeep.checkInvariants()).toEqual([]);
});

test("a crash between the flip and the stopping: the next daemon finds the block in the store", async () => {
  const { world, run } = await blocked();
  world.restart();
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
});

test("a store that fails over the release is asked again, and the job is not given back twice", async () => {
  const { world, run } = await blocked();
  const { clearBlocks } = world.seen.runs;
  world.seen.runs.clearBlocks = async () => {
    throw new Error("busy");
  };
  await world.stopBlocked();
  expect(world.world.eventsOf("loop.subject_failed")).toMatchObject([{ loop: "stopper", subject: `job ${run.jobId}` }]);
  world.seen.runs.clearBlocks = clearBlocks;
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy, "not before its time").toBe(run.runId);
  world.advance(seconds(5));
  await world.stopBlocked();
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
  expect(world.world.eventsOf("run.stopped")).toHaveLength(1);
});

test("after a reboot nothing of the run can be left", async () => {
  const { world, run } = await blocked();
  vi.spyOn(world.probe, "observe").mockReturnValue({ kind: "otherBoot" });
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
});

/** Two boots under one host id: a cloned machine, or a reboot within the last half minute. */
async function seeTwoBoots(world: RepairWorld): Promise<void> {
  for (const bootId of [world.host.bootId, "another-boot"]) {
    const process = { ...world.host, bootId, pid: 90, startTime: "1" };
    await world.store.workers.register({ name: bootId, kind: "command", process, concurrency: 1, queues: [] });
  }
}

test("another boot id proves nothing while the session is heard: a cloned machine shows one too", async () => {
  const { world, run } = await blocked();
  const workerId = (await world.store.runs.get(run.runId))?.workerId ?? null;
  if (workerId === null) throw new Error("no supervisor");
  world.probe.set(run.pid, "otherBoot");
  for (let heard = 0; heard < 4; heard++) {
    await world.store.workers.renew({ workerId, held: [], claimSeqReceived: 1 });
    await world.stopBlocked();
    expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
    world.advance(seconds(29));
  }
  world.advance(seconds(1));
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
});

test("while one host id shows two boots the other boot proves nothing, nor does a pipe under its name; a host that is heard is waited for", async () => {
  const world = await RepairWorld.open();
  const run = await world.running();
  const process = { ...world.host, bootId: "another-boot", pid: run.pid, startTime: "12345" };
  await world.store.runs.recordProcess({ ...run, process });
  await world.store.jobs.cancel(run.jobId, { actor: "test", reason: "test", stopBy: world.now });
  const runDir = runDirOf(world.world.paths, run.runId);
  mkdirSync(runDir, { recursive: true });
  await makeLifePipe(runDir);
  for (let look = 0; look < 30; look++) {
    await seeTwoBoots(world);
    await world.stopBlocked();
    world.advance(seconds(29));
  }
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
  world.advance(seconds(2));
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
});

test("a handler's run is not given back because its host shows another boot while it is heard, nor called unstoppable", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const run = await world.running({ queue: "mail", workerId, limits: { maxRunningMs: seconds(100) } });
  world.advance(seconds(100));
  await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
  await world.tick();
  await world.store.workers.renew({ workerId, held: [run.runId], claimSeqReceived: 1 });
  world.probe.set(60, "otherBoot");
  world.advance(seconds(29));
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
  expect(await world.alertCauses()).not.toContain(`unstoppable:${run.runId}`);
  world.advance(seconds(1));
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
});

test("a host that cannot be probed: given back only behind its fence, with an alert", async () => {
  const { world, run } = await blocked({ host: "host-b" });
  world.advance(seconds(600));
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
  world.advance(seconds(17));
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
  expect(await world.alertCauses()).toContain(`fence:${run.runId}`);
});

test("a host that is heard stops its own processes: no other releases their jobs", async () => {
  const { world, run } = await blocked({ host: "host-b" });
  const workerId = await world.worker({ host: "host-b" });
  world.advance(seconds(700));
  await world.store.workers.renew({ workerId, held: [], claimSeqReceived: 0 });
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
});

test("how long a host counts as heard is the setting for silent sessions, read at each look", async () => {
  const { world, run } = await blocked({ host: "host-b" });
  const workerId = await world.worker({ host: "host-b" });
  world.advance(seconds(700));
  await world.store.workers.renew({ workerId, held: [], claimSeqReceived: 0 });
  world.advance(seconds(45));
  world.settings.thresholds = { ...world.settings.thresholds, deadAfterMs: seconds(60) };
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
  world.settings.thresholds = { ...world.settings.thresholds, deadAfterMs: seconds(30) };
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
});

test("a handler's run is given back when its host no longer holds it, or is dead", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const limits = { maxRunningMs: seconds(100) };
  const [first, second] = [
    await world.running({ queue: "mail", workerId, limits }),
    await world.running({ queue: "mail", workerId, limits }),
  ];
  world.advance(seconds(100));
  for (const run of [first, second]) await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
  await world.tick();
  await world.stopBlocked();
  expect((await world.job(first.jobId)).blockedBy).toBe(first.runId);
  world.advance(seconds(1));
  world.loops.presence.heard(workerId, { at: world.now, held: [second.runId], claimSeqReceived: 2 });
  await world.stopBlocked();
  expect([(await world.job(first.jobId)).blockedBy, (await world.job(second.jobId)).blockedBy]).toEqual([null, second.runId]);
  world.probe.set(60, "dead");
  await world.stopBlocked();
  expect((await world.job(second.jobId)).blockedBy).toBeNull();
});

test("a run that survives raises one alert through the outbox; when the store refuses it, the event is left", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler" });
  const run = await world.running({ queue: "mail", workerId, limits: { maxRunningMs: seconds(100) } });
  world.advance(seconds(100));
  await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
  await world.tick();
  await world.stopBlocked();
  expect(await world.alertCauses()).not.toContain(`unstoppable:${run.runId}`);
  world.advance(seconds(60));
  for (let tick = 0; tick < 3; tick++) await world.stopBlocked();
  expect((await world.alertCauses()).filter((cause) => cause === `unstoppable:${run.runId}`)).toHaveLength(1);
  expect((await world.store.outbox.due(100)).find((row) => row.key.startsWith("unstoppable"))?.revision).toBe(1);
  expect(world.world.eventsOf("run.unstoppable")).toMatchObject([{ runId: run.runId, queue: "mail" }]);
  expect(world.world.eventsOf("alert.raised")).toEqual([]);
  const put = vi.spyOn(world.store.outbox, "put").mockRejectedValue(new Error("the disk is full"));
  world.restart();
  await world.stopBlocked();
  expect(world.world.eventsOf("alert.raised")).toMatchObject([{ cause: `unstoppable:${run.runId}` }]);
  put.mockRestore();
});

test("a handler of a host that can neither be probed nor heard is not waited for without end", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ pid: 60, kind: "handler", host: "host-b" });
  const run = await world.running({ queue: "mail", workerId, limits: { maxRunningMs: seconds(20) } });
  world.advance(seconds(20));
  await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
  await world.tick();
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
  world.advance(seconds(30));
  await world.tickWorkers();
  world.advance(seconds(700));
  await world.stopBlocked();
  expect((await world.job(run.jobId)).blockedBy).toBeNull();
});

test("jobs that can only wait do not keep the others from their turn", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ host: "host-b", pid: 70 });
  for (let each = 0; each < 201; each++) {
    const run = await world.running({ workerId, host: "host-b" });
    await world.store.jobs.cancel(run.jobId, { actor: "test", reason: "test", stopBy: world.now });
  }
  const mine = await world.running();
  await world.store.jobs.cancel(mine.jobId, { actor: "test", reason: "test", stopBy: world.now });
  for (let tick = 0; tick < 6; tick++) await world.stopBlocked();
  expect((await world.job(mine.jobId)).blockedBy).toBeNull();
});

test("a dry run names what it would stop and stops nothing", async () => {
  const { world, run } = await blocked();
  const { would } = await world.world.tick(world.loops.stopper, { dryRun: true });
  expect(would).toEqual([`job ${run.jobId}: stop attempt 1`]);
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
});
