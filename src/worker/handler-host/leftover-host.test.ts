import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { readRegular } from "../../files/regular-file.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import type { ProcessTable } from "../../processes/probe/process-table.ts";
import { hostRecordPath, stopLeftoverHost } from "./leftover-host.ts";

const seconds = (n: number): number => n * 1000;

/** No process of another boot is here, and none may be signalled. */
const noProcesses: ProcessTable = {
  look: () => ({ kind: "absent" }),
  lookMany: (pids) => pids.map(() => ({ kind: "absent" })),
  list: () => [],
  environmentValue: () => undefined,
  ageMs: () => undefined,
  signal: () => {
    throw new Error("signalled");
  },
};

/** A start that finds the record of a handler host of another boot, whose session holds one run. */
async function afterAnotherBoot() {
  const world = await RepairWorld.open();
  const earlier: ProcessIdentity = { ...world.host, bootId: "earlier-boot", pid: 60, startTime: "12345" };
  const workerId = await world.store.workers.register({ name: "h", kind: "handler", process: earlier, concurrency: 4, queues: [] });
  const run = await world.running({ queue: "mail", workerId });
  const { dataDir } = world.world.paths;
  writeFileSync(hostRecordPath(dataDir), JSON.stringify(earlier));
  const start = async () =>
    await stopLeftoverHost({
      store: world.store,
      host: { identity: world.host, table: noProcesses, paths: world.world.paths, clock: { mono: () => world.now } },
      ender: world.loops.ender,
      emit: () => undefined,
      recoverySpreadMs: 0,
      deadAfterMs: seconds(30),
      stop: { stopGraceMs: 0, killGraceMs: 0 },
    });
  return { world, workerId, run, dataDir, start };
}

test("after a reboot what the host of the earlier boot held is ended, once its session has been silent", async () => {
  const { world, workerId, run, start } = await afterAnotherBoot();
  world.advance(seconds(30));
  expect(await start()).toMatchObject({ kind: "gone", wasAlive: false, runsEnded: 1 });
  expect(await world.stateOf(run)).toBe("queued");
  expect((await world.store.workers.get(workerId))?.state).toBe("stopped");
});

test("a host of another boot whose session is heard is another machine's: its runs go on there", async () => {
  const { world, workerId, run, dataDir, start } = await afterAnotherBoot();
  world.advance(seconds(29));
  expect(await start()).toEqual({ kind: "none" });
  expect(await world.stateOf(run)).toBe("running");
  expect((await world.store.workers.get(workerId))?.state).toBe("live");
  expect(await readRegular(hostRecordPath(dataDir)), "the next start looks again").toBeDefined();
  world.advance(seconds(1));
  expect(await start()).toMatchObject({ kind: "gone", runsEnded: 1 });
});

test("while one host id shows two boots nothing of the other boot is ended, however silent its session", async () => {
  const { world, run, start } = await afterAnotherBoot();
  world.advance(seconds(60));
  for (const bootId of ["earlier-boot", world.host.bootId]) {
    const process = { ...world.host, bootId, pid: 70, startTime: "1" };
    await world.store.workers.register({ name: bootId, kind: "command", process, concurrency: 1, queues: [] });
  }
  expect(await start()).toEqual({ kind: "none" });
  expect(await world.stateOf(run)).toBe("running");
});
