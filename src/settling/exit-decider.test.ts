import { expect, test } from "vitest";
import { chain } from "../../test/support/loop-world.ts";
import { RepairWorld } from "../../test/support/repair-world.ts";
import { addMs } from "../domain/time.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import { ExitDecider } from "./exit-decider.ts";

const gate = { kind: "file", path: "green", anyAge: true } as const;
const none = { kind: "none" } as const;

async function exited(exitCode: number) {
  const definition = chain("p", ["prep", "ocr"], { stage: { gate, gatePatienceMs: 600_000 } });
  const world = await RepairWorld.open([definition]);
  await world.addItem();
  const run = await world.start({ queue: "p/prep" });
  await world.exit(run, exitCode);
  const [live] = await world.store.runs.listLive([run.runId]);
  if (live === undefined) throw new Error("the run has ended");
  const decider = new ExitDecider({
    registry: new PipelineRegistry([definition]),
    versions: {},
    random: () => 0.5,
    now: () => addMs(world.now, 0),
  });
  return { world, live, decider };
}

test("the gate is asked for where it decides, and only there", async () => {
  const good = await exited(0);
  const unread = { output: none, gate: { kind: "not_read" } } as const;
  expect(await good.decider.decide(good.live, unread, { actor: "test" })).toMatchObject({ kind: "read_gate", stage: { name: "prep" } });
  const bad = await exited(1);
  expect(await bad.decider.decide(bad.live, unread, { actor: "test" })).toMatchObject({
    kind: "settle",
    settlement: { outcome: "failed", reason: "exit_code" },
  });
});

test("how long a reading took does not count as readings that failed", async () => {
  const { world, live, decider } = await exited(0);
  const pending = { ...live, gatePendingAt: addMs(world.now, -61_000) };
  const unreadable = { output: none, gate: { kind: "unreadable", error: "no answer" } } as const;
  const pauseOf = async (begunAgoMs: number): Promise<number> => {
    const read = { ...unreadable, begunAt: addMs(world.now, -begunAgoMs) };
    const decision = await decider.decide(pending, read, { actor: "test" });
    if (decision.kind !== "wait") throw new Error(`it is to ${decision.kind}`);
    return decision.readAgainAt - world.now;
  };
  expect([await pauseOf(60_000), await pauseOf(0)]).toEqual([2_000, 60_000]);
});
