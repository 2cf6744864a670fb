import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { forever, startOne, untilItem, untilRun } from "../support/command-runs.ts";
import { commandWorld } from "../support/command-world.ts";
import { makeFifo } from "../support/fifo.ts";

describe("stopping the daemon", () => {
  test("SIGINT: what runs is released unspent and stopped; it is queued again when that is proved", async () => {
    const { world, item, worker } = await startOne(forever);
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await worker.stopAll();
    expect(await world.runOf(item)).toMatchObject({ state: "ended", outcome: "released", spent: "nothing" });
    expect(await world.job(item.id)).toMatchObject({ state: "queued", attempts: 0, blockedBy: run.id });
    await world.stopBlocked();
    expect(world.probe.observe(command).kind).toBe("dead");
    expect(await world.job(item.id)).toMatchObject({ state: "queued", blockedBy: null });
  });

  test("a stopper that is killed while it stops: the block in the store brings the next one to it", async () => {
    const { world, item, worker } = await startOne(`trap '' TERM; ${forever}`);
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await worker.stopAll();
    const killed = new AbortController();
    const begun = world.stopper.tick({
      now: world.world.clock.now(),
      signal: killed.signal,
      enabled: true,
      dryRun: false,
      emit: () => undefined,
    });
    await begun;
    killed.abort();
    await world.stopper.idle();
    expect(world.probe.observe(command).kind).toBe("alive");
    expect(await world.job(item.id)).toMatchObject({ blockedBy: run.id });
    world.advance(5000);
    await world.stopBlocked();
    expect(world.probe.observe(command).kind).toBe("dead");
    expect(await world.job(item.id)).toMatchObject({ blockedBy: null });
  });

  test("drain waits for what runs, and claims nothing more", async () => {
    const world = await commandWorld("read go < gate", { stage: { cwd: "." } });
    makeFifo(join(world.world.baseDir, "gate"));
    const item = await world.addItem("first");
    const { worker, start } = await world.worker();
    start();
    const run = await untilRun(world, item, "started");
    // A recorded start may still lack its go, and a draining worker withdraws it.
    await world.command(run.id);
    const drained = worker.drain();
    const second = await world.addItem("second");
    // Not synchronously: until the command opens its end, a writer of a FIFO waits, and so would the worker that starts the command.
    await writeFile(join(world.world.baseDir, "gate"), "go\n");
    await drained;
    await untilItem(world, item, "done");
    expect((await world.job(second.id)).state).toBe("queued");
  });
});
