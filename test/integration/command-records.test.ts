import { existsSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { forever, startOne, untilItem, untilRun } from "../support/command-runs.ts";
import { type CommandWorld, commandWorld, filesOf } from "../support/command-world.ts";
import { makeFifo } from "../support/fifo.ts";
import { until } from "../support/until.ts";

describe("a command that spoils the records of its own run", () => {
  test("removes its own run folder: lost, never taken for a command that did not start", async () => {
    const { world, item } = await startOne('rm -rf "${WAKEFUL_HEARTBEAT_FILE%/*}"', { stage: { attempts: 1 } });
    const { wrapper } = await untilRun(world, item, "started");
    if (wrapper === null) throw new Error("no wrapper on record");
    await until(() => world.probe.observe(wrapper).kind === "dead", { everyMs: 5 });
    // Two ticks call it lost; the command may outlive its wrapper for a moment, and then it takes more.
    await until(
      async () => {
        await world.tickReaper();
        return (await world.runOf(item)).state === "ended";
      },
      { everyMs: 5 },
    );
    expect(await world.runOf(item)).toMatchObject({ outcome: "lost", spent: "attempt", exitCode: null });
    await world.stopBlocked();
    await untilItem(world, item, "failed");
  });

  const removesItsRecord =
    'dir=${WAKEFUL_HEARTBEAT_FILE%/*}; read go < gate; rm "$dir/command"; echo ok > removed; while :; do sleep 1; done';

  test.each([
    [
      "the job-reaper",
      async (world: CommandWorld) => {
        await world.tickReaper();
        await world.tickReaper();
      },
    ],
    [
      "the next daemon",
      async (world: CommandWorld) => {
        const next = await world.worker();
        expect(await world.adoptOrRequeue(next.worker)).toMatchObject({ adopted: 0 });
      },
    ],
  ])("removes its own record and dies with its wrapper: %s calls it lost, because it was seen to begin", async (_who, judge) => {
    const world = await commandWorld(removesItsRecord, { stage: { cwd: ".", attempts: 1 } });
    const gate = join(world.world.baseDir, "gate");
    makeFifo(gate);
    const item = await world.addItem();
    const { worker, start } = await world.worker({ dead: true });
    start();
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await until(async () => (await world.runOf(item)).process?.pid === command.pid, { everyMs: 5 });
    await writeFile(gate, "go\n");
    await until(() => existsSync(join(world.world.baseDir, "removed")), { everyMs: 5 });
    await worker.leave();
    const { wrapper } = await world.runOf(item);
    for (const process of [wrapper, command]) {
      if (process === null) throw new Error("no wrapper on record");
      world.table.signal(process.pid, "SIGKILL");
      await until(() => world.probe.observe(process).kind === "dead", { everyMs: 5 });
    }
    await judge(world);
    expect(await world.runOf(item)).toMatchObject({ state: "ended", outcome: "lost", spent: "attempt" });
  });

  test("a record that says it never began is not believed of a command that was seen to begin", async () => {
    const { world, item, worker } = await startOne(forever, { stage: { attempts: 1 } });
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await until(async () => (await world.runOf(item)).process?.pid === command.pid, { everyMs: 5 });
    const { wrapper } = await world.runOf(item);
    if (wrapper === null) throw new Error("no wrapper on record");
    world.table.signal(wrapper.pid, "SIGKILL");
    // While it lives it may still write how the command ended.
    await until(() => world.probe.observe(wrapper).kind === "dead", { everyMs: 5 });
    writeFileSync(filesOf(world, run.id).exit, `${run.id} nogo ${world.host.bootId}\n`);
    await world.tickReaper();
    expect((await world.runOf(item)).state).toBe("started");
    world.table.signal(command.pid, "SIGKILL");
    await until(() => world.probe.observe(command).kind === "dead", { everyMs: 5 });
    await world.tickReaper();
    await world.tickReaper();
    expect(await world.runOf(item)).toMatchObject({ outcome: "lost", spent: "attempt" });
    await worker.leave();
  });

  test("puts FIFOs in the place of its records: nobody waits at them", async () => {
    const swap = 'for name in started exit; do rm -f "$dir/$name"; mkfifo "$dir/$name"; done';
    const { world, item } = await startOne(`dir=\${WAKEFUL_HEARTBEAT_FILE%/*}; ${swap}; echo ok > swapped; read go < gate`, {
      stage: { cwd: "." },
    });
    const gate = join(world.world.baseDir, "gate");
    makeFifo(gate);
    await until(() => existsSync(join(world.world.baseDir, "swapped")), { everyMs: 5 });
    for (let tick = 0; tick < 3; tick++) await world.tickReaper();
    expect((await world.runOf(item)).state).toBe("started");
    await writeFile(gate, "go\n");
    await untilItem(world, item, "done");
  });
});
