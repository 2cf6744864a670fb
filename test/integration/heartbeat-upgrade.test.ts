import { expect, test } from "vitest";
import type { StageDefinition } from "../../src/pipelines/definition.ts";
import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { beat, makeHeartbeat } from "../support/command-runs.ts";
import { type CommandWorld, commandWorld, filesOf } from "../support/command-world.ts";
import { chain } from "../support/loop-world.ts";
import { until } from "../support/until.ts";

type Item = Awaited<ReturnType<CommandWorld["addItem"]>>;

/** The command began under a stage that asks for heartbeats; the daemon that adopts it has a stage that asks for none. */
async function adoptedWithout(heartbeat: StageDefinition["heartbeat"], script: string): Promise<{ world: CommandWorld; item: Item }> {
  const world = await commandWorld(script, { stage: { heartbeat } });
  const item = await world.addItem();
  const first = await world.worker({ dead: true });
  first.start();
  await until(async () => (await world.runOf(item)).state === "started", { everyMs: 5, what: "the command to start" });
  await world.command((await world.runOf(item)).id);
  await first.worker.leave();
  const { heartbeat: _, ...silent } = chain("p", ["work"], { stage: { run: { kind: "command", argv: ["true"] } } }).stages["work"] ?? {};
  const registry = new PipelineRegistry([{ name: "p", first: "work", stages: { work: silent as StageDefinition } }]);
  expect(registry.stage("p", "work")?.heartbeat).toBeUndefined();
  const second = await world.worker({ registry });
  expect(await world.adoptOrRequeue(second.worker)).toMatchObject({ adopted: 1 });
  second.start();
  return { world, item };
}

test("a run whose stage asks for no heartbeat any more goes on while it beats, and is hung when it stops: it is judged by what it started with", async () => {
  const { world, item } = await adoptedWithout({ timeoutMs: 600_000, from: "file" }, "while :; do sleep 1; done");
  const path = filesOf(world, (await world.runOf(item)).id).heartbeat;
  const run = async () => await world.runOf(item);
  for (let round = 0; round < 4; round++) {
    world.advance(500_000);
    if (round === 0) await makeHeartbeat(path, run);
    await beat(world, path, run);
    await world.tickReaper();
    expect(await world.runOf(item)).toMatchObject({ state: "started", ownerEpoch: 2 });
  }
  world.advance(600_001);
  await world.tickReaper();
  expect(await world.runOf(item)).toMatchObject({ state: "ended", outcome: "hung" });
});

test("what it prints goes on counting as progress when its stage says so no more", async () => {
  const script = "while :; do echo line; sleep 0.02; done";
  const { world, item } = await adoptedWithout({ timeoutMs: 600_000, from: "output" }, script);
  for (let round = 0; round < 3; round++) {
    world.advance(500_000);
    await until(async () => (await world.runOf(item)).progressAt === world.world.clock.now(), { what: "what it prints to be stored" });
    await world.tickReaper();
    expect(await world.runOf(item)).toMatchObject({ state: "started", ownerEpoch: 2 });
  }
});
