import { expect, test } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import type { RunId } from "../../domain/ids.ts";
import { addMs } from "../../domain/time.ts";
import type { LeaseHolder } from "../../store/port/leases.ts";

const seconds = (n: number): number => n * 1000;

async function hold(
  world: RepairWorld,
  name: string,
  holder: LeaseHolder,
  limits: { ttlMs?: number; maxHoldMs?: number } = {},
): Promise<void> {
  const { ttlMs = seconds(300), maxHoldMs = seconds(3600) } = limits;
  const answer = await world.store.leases.acquire({ name, ticket: name, holder, ttlMs, maxHoldMs, timeoutAt: addMs(world.now, 1) });
  expect(answer).toMatchObject({ kind: "held" });
}

const byRun = (runId: RunId): LeaseHolder => ({ kind: "run", runId });
const stateOf = async (world: RepairWorld, name: string) =>
  (await world.store.leases.list({ limit: 1000 })).find((lease) => lease.name === name)?.state;

test("TC-21b: without leases the sweep returns 0 [B-55]", async () => {
  const world = await RepairWorld.open();
  await world.tick();
  expect(world.details()).toMatchObject({ lease_reclaimed_total: 0 });
});

test("a lease whose holder is dead is free at the next tick, without its TTL and without another acquirer [B-3, B-53, B-56]", async () => {
  const world = await RepairWorld.open();
  await hold(world, "merge/web", { kind: "process", process: world.processOf(77) });
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("held");
  world.probe.set(77, "dead");
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("free");
  expect(world.world.eventsOf("lease.reclaimed")).toMatchObject([{ lease: "merge/web" }]);
});

test("a dead run's lease is free in the tick that ends the run: the scan comes first [B-3, B-9, B-55]", async () => {
  const world = await RepairWorld.open();
  const run = await world.running();
  await hold(world, "merge/web", byRun(run.runId));
  world.die(run);
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("held");
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("free");
  expect(world.details()).toMatchObject({ lease_reclaimed_total: 1 });
});

test("an exited run keeps its lease while its result is merged, although its process is dead", async () => {
  const world = await RepairWorld.open();
  const run = await world.running();
  await hold(world, "merge/web", byRun(run.runId));
  await world.exit(run, 0);
  for (let tick = 0; tick < 5; tick++) {
    world.advance(seconds(50));
    await world.tick();
  }
  expect(await stateOf(world, "merge/web")).toBe("held");
});

test("a dead wrapper frees nothing: its command may be at work", async () => {
  const world = await RepairWorld.open();
  const run = await world.running();
  await hold(world, "merge/web", byRun(run.runId));
  world.probe.set(run.wrapperPid, "dead");
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("held");
});

test("a lease is not free while its run is being stopped", async () => {
  const world = await RepairWorld.open();
  const run = await world.running({ limits: { maxRunningMs: seconds(100) } });
  await hold(world, "merge/web", byRun(run.runId));
  world.advance(seconds(100));
  await world.tick();
  expect((await world.job(run.jobId)).blockedBy).toBe(run.runId);
  expect(await stateOf(world, "merge/web")).toBe("held");
  await world.stopBlocked();
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("free");
});

test("a living holder past the TTL keeps it, with one alert; past the longest hold its run is stopped, then it is free", async () => {
  const world = await RepairWorld.open();
  const run = await world.running();
  await hold(world, "merge/web", byRun(run.runId), { ttlMs: seconds(60), maxHoldMs: seconds(600) });
  world.advance(seconds(60));
  await world.tick();
  await world.tick();
  expect(world.world.eventsOf("lease.overdue")).toHaveLength(1);
  const [alert, ...others] = (await world.store.outbox.due(10)).filter(({ kind }) => kind === "alert");
  expect(others).toEqual([]);
  expect(alert).toMatchObject({ key: expect.stringMatching(/^lease\.overdue:merge\/web:\d+$/), revision: 1 });
  expect(alert?.payload).toContain("is kept by run ");
  expect(await stateOf(world, "merge/web")).toBe("held");
  world.advance(seconds(540));
  await world.tick();
  expect(await world.store.runs.get(run.runId)).toMatchObject({ state: "ended", outcome: "timed_out", reason: "lease_held_too_long" });
  expect(await stateOf(world, "merge/web")).toBe("held");
  await world.stopBlocked();
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("free");
});

test("a run ended by the lease sweep is reported once; a lost flip reports nothing, nor does a second daemon's sweep", async () => {
  const world = await RepairWorld.open();
  const [kept, ended] = [await world.running(), await world.running()];
  world.settings.enabled = false;
  await hold(world, "merge/web", byRun(kept.runId), { ttlMs: seconds(60), maxHoldMs: seconds(600) });
  await hold(world, "merge/api", byRun(ended.runId), { ttlMs: seconds(60), maxHoldMs: seconds(600) });
  const { settle } = world.seen.runs;
  world.seen.runs.settle = async (settlements, how) => {
    // Between the sweep's read and its write another actor ends one of them.
    const [first] = settlements;
    if (first?.runId === ended.runId && first.outcome !== "succeeded") await settle([{ ...first, outcome: "hung", reason: "hung" }]);
    return await settle(settlements, how);
  };
  world.advance(seconds(700));
  await world.tick();
  await world.tick();
  world.restart();
  await world.tick();
  expect(world.world.eventsOf("run.ended")).toMatchObject([
    { runId: kept.runId, queue: "dev", outcome: "timed_out", reason: "lease_held_too_long", jobState: "scheduled", actor: "lease-sweep" },
  ]);
});

test("a holder of another host is alive while its session is heard, and unknown after: free at the TTL", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ host: "host-b" });
  const run = await world.running({ workerId, host: "host-b" });
  await hold(world, "merge/web", byRun(run.runId), { ttlMs: seconds(60) });
  world.settings.enabled = false;
  world.advance(seconds(59));
  await world.store.workers.renew({ workerId, held: [run.runId], claimSeqReceived: 1 });
  world.advance(seconds(2));
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("held");
  world.advance(seconds(30));
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("free");
});

test("a draining session counts as heard: its lease outlasts the TTL until the session leaves", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ host: "host-b" });
  const run = await world.running({ workerId, host: "host-b" });
  await hold(world, "merge/web", byRun(run.runId), { ttlMs: seconds(60) });
  world.settings.enabled = false;
  await world.store.workers.drain(workerId);
  world.advance(seconds(59));
  await world.store.workers.renew({ workerId, held: [run.runId], claimSeqReceived: 1 });
  world.advance(seconds(2));
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("held");
  await world.store.workers.leave(workerId);
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("free");
});

test("a holder's run is alive while its process is, or its supervisor's, however silent the session: its lease outlasts the TTL", async () => {
  const world = await RepairWorld.open();
  const [own, supervisors] = [await world.running(), await world.running({ workerId: await world.worker({ pid: 51 }) })];
  await hold(world, "by-process", byRun(own.runId), { ttlMs: seconds(60) });
  await hold(world, "by-supervisor", byRun(supervisors.runId), { ttlMs: seconds(60) });
  // Tests the sweep alone: the scan would end the runs on its own evidence.
  world.settings.enabled = false;
  world.probe.set(50, "dead");
  world.probe.set(supervisors.pid, "unknown");
  world.advance(seconds(600));
  await world.tick();
  expect([await stateOf(world, "by-process"), await stateOf(world, "by-supervisor")]).toEqual(["held", "held"]);
  world.probe.set(own.pid, "unknown");
  world.probe.set(51, "unknown");
  await world.tick();
  expect([await stateOf(world, "by-process"), await stateOf(world, "by-supervisor")]).toEqual(["free", "free"]);
});

test("a lease whose holder's run is no longer on record is free at once, without its TTL", async () => {
  const world = await RepairWorld.open();
  const run = await world.running();
  await hold(world, "merge/web", byRun(run.runId));
  const { listHeld } = world.seen.leases;
  world.seen.leases.listHeld = async (page) => (await listHeld(page)).map((lease) => ({ ...lease, run: null }));
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("free");
});

test("how long a session counts as heard is the setting for silent sessions, read at each tick", async () => {
  const world = await RepairWorld.open();
  const workerId = await world.worker({ host: "host-b" });
  const run = await world.running({ workerId, host: "host-b" });
  await hold(world, "merge/web", byRun(run.runId), { ttlMs: seconds(10) });
  world.settings.enabled = false;
  world.settings.thresholds = { ...world.settings.thresholds, deadAfterMs: seconds(60) };
  world.advance(seconds(45));
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("held");
  world.settings.thresholds = { ...world.settings.thresholds, deadAfterMs: seconds(30) };
  await world.tick();
  expect(await stateOf(world, "merge/web")).toBe("free");
});

test("the switch off: 0, and nothing is touched or even read [B-11]", async () => {
  const world = await RepairWorld.open();
  world.settings.reclaimEnabled = false;
  await hold(world, "merge/web", { kind: "process", process: world.processOf(77) });
  world.probe.set(77, "dead");
  world.seen.leases.listHeld = async () => {
    throw new Error("read");
  };
  world.seen.leases.tidyWaiters = async () => {
    throw new Error("written");
  };
  await world.tick();
  expect(world.loops.runner.snapshot()).toMatchObject({ failures: 0, settled: 0 });
  expect(world.world.eventsOf("loop.failed")).toEqual([]);
  expect(await stateOf(world, "merge/web")).toBe("held");
});

test("one repository's failure does not stop the others; the sweep never throws and the total accumulates [B-54, B-55]", async () => {
  const world = await RepairWorld.open();
  const names = ["a", "b", "c"];
  for (const name of names) await hold(world, name, { kind: "process", process: world.processOf(77) });
  world.probe.set(77, "dead");
  const { release, listHeld } = world.seen.leases;
  world.seen.leases.release = async (lease) => {
    if (lease.name === "b") throw new Error("locked");
    return await release(lease);
  };
  await world.tick();
  expect(await Promise.all(names.map((name) => stateOf(world, name)))).toEqual(["free", "held", "free"]);
  expect(world.world.eventsOf("loop.subject_failed")).toMatchObject([{ loop: "lease-sweep", subject: "lease b", message: "locked" }]);
  expect(world.details()).toMatchObject({ lease_reclaimed_total: 2 });
  world.seen.leases.release = release;
  world.seen.leases.listHeld = async () => {
    throw new Error("no such table");
  };
  expect((await world.tick()).failed).toBe(0);
  expect(world.world.eventsOf("loop.failed")).toMatchObject([{ loop: "lease-sweep" }]);
  world.seen.leases.listHeld = listHeld;
  await world.tick();
  expect(world.details()).toMatchObject({ lease_reclaimed_total: 3 });
});

test("only leases in scope are swept; a page is not the end of them [B-52]", async () => {
  const world = await RepairWorld.open();
  await hold(world, "lease-0000", { kind: "process", process: world.processOf(77) });
  // One statement, because 500 requests take seconds on a slow disk.
  world.world.sql(`
    with recursive more (i) as (select 1 union all select i + 1 from more where i < 500)
    insert into leases select printf('lease-%04d', i), state, holder_run_id, holder_host_id, holder_boot_id, holder_pid_namespace, holder_pid,
      holder_start_time, 'ticket-' || i, fencing, ttl_ms, max_hold_ms, granted_at, expires_at, alerted_at from more, leases`);
  world.probe.set(77, "dead");
  world.settings.scope = ["lease-0003", "lease-0007"];
  await world.tick();
  expect(world.details()).toMatchObject({ lease_reclaimed_total: 2 });
  world.settings.scope = [];
  await world.tick();
  expect(world.details()).toMatchObject({ lease_reclaimed_total: 501 });
});

test("a dry run names the leases that it would free", async () => {
  const world = await RepairWorld.open();
  await hold(world, "merge/web", { kind: "process", process: world.processOf(77) });
  world.probe.set(77, "dead");
  const { would } = await world.tick({ dryRun: true });
  expect(would).toEqual([expect.stringContaining("lease merge/web")]);
  expect(await stateOf(world, "merge/web")).toBe("held");
});

test("a lease that came free goes to the first who waits", async () => {
  const world = await RepairWorld.open();
  await hold(world, "merge/web", { kind: "process", process: world.processOf(77) });
  const waiter = { kind: "process", process: world.processOf(78) } as const;
  const request = {
    name: "merge/web",
    ticket: "second",
    holder: waiter,
    ttlMs: seconds(60),
    maxHoldMs: seconds(600),
    timeoutAt: addMs(world.now, seconds(100)),
  };
  expect(await world.store.leases.acquire(request)).toMatchObject({ kind: "waiting" });
  world.probe.set(77, "dead");
  await world.tick();
  const [lease] = await world.store.leases.list({ limit: 1 });
  expect(lease).toMatchObject({ state: "held", holder: { process: { pid: 78 } }, waiters: 0 });
});
