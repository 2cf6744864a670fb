import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ProcessIdentity } from "../../src/processes/probe/identity.ts";
import { identityOf } from "../../src/processes/probe/own-identity.ts";
import { markerVariable } from "../../src/processes/run-folder/run-marker.ts";
import { lives, startOne, untilItem, untilRun } from "../support/command-runs.ts";
import type { CommandWorld } from "../support/command-world.ts";
import { until } from "../support/until.ts";
import { writtenPid } from "../support/written-pid.ts";

/** Leaves its session, its parents and its environment behind, and its pid in the file `hidden`. */
const hide = (variables = ""): string =>
  `(setsid env -i ${variables} /bin/sh -c 'echo $$ > hidden; exec /bin/sleep 600' &); until [ -s hidden ]; do sleep 0.01; done`;

async function hiddenOf(world: CommandWorld): Promise<ProcessIdentity> {
  const pid = await writtenPid(join(world.world.baseDir, "hidden"));
  const sight = world.table.look(pid);
  if (sight.kind !== "seen") throw new Error("what was to be hidden is gone");
  const identity = identityOf(world.host, sight.row);
  onTestFinished(() => {
    if (world.probe.observe(identity).kind === "alive") world.table.signal(pid, "SIGKILL");
  });
  return identity;
}

describe.each(["dash", "bash"] as const)("a process that a command hid, under %s", (shell) => {
  test("is stopped when the command has ended by itself, and its job goes on without a person", async () => {
    const { world, item } = await startOne(`${hide()}; exit 0`, { stage: { cwd: "." }, shell });
    const hidden = await hiddenOf(world);
    await untilItem(world, item, "done");
    expect(lives(world, hidden.pid)).toBe(false);
    expect(world.world.eventsOf("run.strays_stopped").flatMap(({ pids }) => pids)).toContain(hidden.pid);
    expect((await world.job(item.id)).blockedBy).toBeNull();
  });

  test("is stopped by the stopper when the command and its wrapper were killed, and its job is given back", async () => {
    const { world, item, worker } = await startOne(`${hide()}; while :; do sleep 1; done`, { stage: { cwd: "." }, shell });
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    const hidden = await hiddenOf(world);
    await worker.leave();
    const { wrapper } = await world.runOf(item);
    for (const pid of [wrapper?.pid ?? 0, command.pid]) world.table.signal(pid, "SIGKILL");
    await until(() => world.probe.observe(command).kind === "dead", { everyMs: 5 });
    await world.store.jobs.cancel(run.jobId, { actor: "test", reason: "test", stopBy: world.world.clock.now() });
    expect((await world.job(item.id)).blockedBy).toBe(run.id);
    await world.stopBlocked();
    expect(lives(world, hidden.pid)).toBe(false);
    expect((await world.job(item.id)).blockedBy).toBeNull();
  });
});

test("a stopper that is killed while it stops a hidden process: the next one finds it again", async () => {
  const { world, item, worker } = await startOne(`${hide()}; while :; do sleep 1; done`, { stage: { cwd: "." } });
  const run = await untilRun(world, item, "started");
  const command = await world.command(run.id);
  const hidden = await hiddenOf(world);
  await worker.leave();
  const { wrapper } = await world.runOf(item);
  for (const pid of [wrapper?.pid ?? 0, command.pid]) world.table.signal(pid, "SIGKILL");
  await until(() => world.probe.observe(command).kind === "dead", { everyMs: 5 });
  await world.store.jobs.cancel(run.jobId, { actor: "test", reason: "test", stopBy: world.world.clock.now() });
  const killed = new AbortController();
  await world.stopper.tick({ now: world.world.clock.now(), signal: killed.signal, enabled: true, dryRun: false, emit: () => undefined });
  killed.abort();
  await world.stopper.idle();
  expect([lives(world, hidden.pid), (await world.job(item.id)).blockedBy]).toEqual([true, run.id]);
  world.advance(5000);
  await world.stopBlocked();
  expect([lives(world, hidden.pid), (await world.job(item.id)).blockedBy]).toEqual([false, null]);
});

test("what bears another run's marker keeps the job, untouched; the alert and the doctor name its pid and command", async () => {
  const script = `${hide(`${markerVariable}=999999:elsewhere`)}; exit 0`;
  const { world, item } = await startOne(script, { stage: { cwd: "." }, killGraceMs: 200 });
  const hidden = await hiddenOf(world);
  await until(async () => (await world.job(item.id)).blockedBy !== null, { everyMs: 20, what: "its job to wait for the proof" });
  const { id: jobId, blockedBy } = await world.job(item.id);
  world.advance(20_000);
  await world.stopBlocked();
  expect([lives(world, hidden.pid), (await world.job(item.id)).blockedBy]).toEqual([true, blockedBy]);
  const named = `pid ${hidden.pid} (/bin/sleep 600), which is left alone`;
  expect(world.world.eventsOf("run.unstoppable")).toMatchObject([{ remains: expect.stringContaining(named) }]);
  const [alert] = (await world.store.outbox.due(100)).filter(({ key }) => key === `unstoppable:${blockedBy}`);
  expect(alert?.payload).toContain(named);
  expect(world.stopper.details().remains[jobId]).toContain(named);
  world.table.signal(hidden.pid, "SIGKILL");
  world.advance(5000);
  await until(async () => {
    await world.stopBlocked();
    world.advance(5000);
    return (await world.job(item.id)).blockedBy === null;
  });
  expect(world.stopper.details().remains).toEqual({});
});

test("what a run was allowed to leave lives on when retention has removed the run's row; with no later run on record it is stopped at the start", async () => {
  const script = `[ -e hidden ] || { ${hide()}; }; exit 0`;
  const { world, item, worker } = await startOne(script, { stage: { cwd: ".", strays: "leave" } });
  const left = await hiddenOf(world);
  await untilItem(world, item, "done");
  const run = await world.runOf(item);
  await untilItem(world, await world.addItem("later"), "done");
  await worker.leave();
  const { get, isFollowed } = world.store.runs;
  onTestFinished(() => void Object.assign(world.store.runs, { get, isFollowed }));
  Object.assign(world.store.runs, { get: async (id: typeof run.id) => (id === run.id ? undefined : await get(id)) });
  const { worker: next } = await world.worker();
  expect([(await world.adoptOrRequeue(next)).stopped, lives(world, left.pid)]).toEqual([0, true]);
  // As in a store restored from before the run.
  Object.assign(world.store.runs, { isFollowed: async () => false });
  expect([(await world.adoptOrRequeue(next)).stopped, lives(world, left.pid)]).toEqual([1, false]);
});
