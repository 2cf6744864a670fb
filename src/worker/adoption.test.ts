import { rmSync } from "node:fs";
import { expect, test } from "vitest";
import { RepairWorld, type StartedRun } from "../../test/support/repair-world.ts";
import type { RunId } from "../domain/ids.ts";
import { runTaskName } from "../domain/run-task.ts";
import { runDirOf } from "../files/data-paths.ts";
import type { ProcessTable } from "../processes/probe/process-table.ts";
import { type AdoptionReport, adoptOrRequeue } from "./adoption.ts";

const noProcesses: ProcessTable = {
  look: () => ({ kind: "absent" }),
  lookMany: (pids) => pids.map(() => ({ kind: "absent" })),
  list: () => [],
  environmentValue: () => undefined,
  ageMs: () => undefined,
  signal: () => "absent",
};

/** A start over the world's store, after the daemon that supervised its runs has died. */
async function start(world: RepairWorld): Promise<AdoptionReport & { readonly asked: readonly RunId[] }> {
  const asked: RunId[] = [];
  world.probe.set(50, "dead");
  const report = await adoptOrRequeue({
    store: world.store,
    probe: world.probe,
    table: noProcesses,
    host: world.host,
    paths: world.world.paths,
    clock: { mono: () => world.now },
    ender: world.loops.ender,
    emit: () => undefined,
    enabled: true,
    adopt: async (run) => {
      asked.push(run.id);
      return true;
    },
    stopGraceMs: 0,
    killGraceMs: 0,
    recoverySpreadMs: 0,
    shielded: () => [],
  });
  return { ...report, asked };
}

const outcomeOf = async (world: RepairWorld, { runId }: StartedRun) => await world.store.runs.get(runId);

test("a run of which nothing can be proved is left to the job-reaper: neither adopted nor ended", async () => {
  const world = await RepairWorld.open();
  const [unknown, alive, dead] = [await world.running(), await world.running(), await world.running()];
  world.probe.set(unknown.pid, "unknown");
  world.probe.set(unknown.wrapperPid, "unknown");
  world.die(dead);
  expect(await start(world)).toMatchObject({ adopted: 1, requeued: 1, asked: [alive.runId] });
  expect(await outcomeOf(world, unknown)).toMatchObject({ state: "started", outcome: null, workerId: expect.anything() });
  expect(await world.stateOf(unknown)).toBe("running");
  expect(await outcomeOf(world, dead)).toMatchObject({ outcome: "lost", reason: "supervisor_dead" });
});

test("a dead wrapper without a command has executed nothing only where its records are: a folder that is gone proves nothing", async () => {
  const world = await RepairWorld.open();
  const [recorded, removed] = [await world.running({ command: false }), await world.running({ command: false })];
  for (const run of [recorded, removed]) world.die(run);
  rmSync(runDirOf(world.world.paths, removed.runId), { recursive: true });
  expect(await start(world)).toMatchObject({ adopted: 0, requeued: 2 });
  expect(await outcomeOf(world, recorded)).toMatchObject({ outcome: "never_started", spent: "nothing" });
  expect(await outcomeOf(world, removed)).toMatchObject({ outcome: "lost", spent: "attempt" });
});

test("a foreground command of `wakeful run` is nobody's to adopt or to end: it goes on by itself", async () => {
  const world = await RepairWorld.open();
  await world.store.jobs.ensureQueues([{ name: runTaskName, kind: "command" }]);
  const [foreground, dead] = [await world.running({ queue: runTaskName }), await world.running({ queue: runTaskName })];
  world.die(dead);
  expect(await start(world)).toMatchObject({ adopted: 0, requeued: 0, asked: [] });
  for (const run of [foreground, dead]) expect(await outcomeOf(world, run)).toMatchObject({ state: "started", outcome: null });
});
