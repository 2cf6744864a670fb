import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chain } from "../../test/support/loop-world.ts";
import { present } from "../../test/support/present.ts";
import { RepairWorld, type StartedRun } from "../../test/support/repair-world.ts";
import { runDirOf } from "../files/data-paths.ts";
import { retryDelayMs } from "../liveness/retry-delay.ts";
import { runFiles } from "../processes/run-folder/run-files.ts";
import type { LiveRun } from "../store/port/runs.ts";

const gate = { kind: "file", path: "green", anyAge: true } as const;

async function exited(stage: Parameters<typeof chain>[2] = { stage: { gate } }, exitCode = 0) {
  const world = await RepairWorld.open([chain("p", ["prep", "ocr"], stage)]);
  const item = await world.addItem();
  const run = await world.start({ queue: "p/prep" });
  await world.exit(run, exitCode);
  return { world, item, run };
}

async function finalise(world: RepairWorld, run: StartedRun, change: Partial<LiveRun> = {}, signal = new AbortController().signal) {
  const [live] = await world.store.runs.listLive([run.runId]);
  if (live === undefined) throw new Error("the run has ended");
  return await world.loops.finaliser.finalise({ ...live, ...change }, { actor: "test", signal });
}

function leaveOutput(world: RepairWorld, run: StartedRun, text: string): void {
  const runDir = runDirOf(world.world.paths, run.runId);
  mkdirSync(runDir, { recursive: true });
  writeFileSync(runFiles(runDir).output, text);
}

test("exit 0 behind a green gate: done with its output, and the advance in the same settlement", async () => {
  const { world, item, run } = await exited();
  world.turnGateGreen(item);
  leaveOutput(world, run, ' {"pages": 3}\n');
  expect(await finalise(world, run)).toMatchObject({
    kind: "settle",
    settlement: { outcome: "succeeded", exitCode: 0, output: '{"pages":3}', advance: { kind: "next", stage: "ocr" } },
  });
});

test("an exit whose code nobody knows is no success [B-40]", async () => {
  const { world, item, run } = await exited();
  world.turnGateGreen(item);
  const result = await finalise(world, run, { exitCode: null });
  expect(result).toMatchObject({ kind: "settle", settlement: { outcome: "lost", reason: "exit_unknown" } });
  expect(result).toHaveProperty("settlement.exitCode", undefined);
});

test("of an item that has moved on nothing follows, not even from a bad output [B-41]", async () => {
  const { world, run } = await exited();
  leaveOutput(world, run, "{");
  expect(await finalise(world, run, { itemStage: "ocr" })).toMatchObject({ settlement: { outcome: "succeeded" } });
  expect(await finalise(world, run)).toMatchObject({ settlement: { outcome: "bad_output", reason: "bad_output" } });
});

test("what follows the stage is not declared any more: held for a person", async () => {
  const { world, item, run } = await exited();
  world.turnGateGreen(item);
  expect(await finalise(world, run, { pipeline: "gone" })).toMatchObject({
    settlement: { reason: "stage_vanished", disposition: "hold" },
  });
});

test("its stage's factor makes later delays grow", async () => {
  const { world, run } = await exited({ stage: { gate, attempts: 9, retry: { minMs: 1000, maxMs: 100_000, factor: 3 } } }, 1);
  const delayAt = async (attempts: number): Promise<number> => {
    const result = await finalise(world, run);
    if (result.kind !== "settle" || result.settlement.outcome === "succeeded") throw new Error("not a failure");
    const { retry } = result.settlement;
    return retryDelayMs(attempts, present(retry.policy).delay, retry.jitter);
  };
  // Between half and all of 1, 3, 9 s; the middle of it with this random number.
  expect(await Promise.all([1, 2, 3].map(delayAt))).toEqual([750, 2250, 6750]);
});

test("a result is believed when it is known to be of this run: without the run's start it is asked for again", async () => {
  const { world, item, run } = await exited({ stage: { gate: { ...gate, anyAge: false }, gatePatienceMs: 600_000 } });
  world.turnGateGreen(item);
  expect(await finalise(world, run)).toMatchObject({ kind: "wait", why: expect.stringContaining("nothing says when the run began") });
  const runDir = runDirOf(world.world.paths, run.runId);
  mkdirSync(runDir, { recursive: true });
  writeFileSync(runFiles(runDir).started, "");
  world.turnGateGreen(item);
  expect(await finalise(world, run)).toMatchObject({ settlement: { outcome: "succeeded" } });
});

test("gates are read at most so many at a time, and all in the end", async () => {
  // The first four wait for each other, however slowly they are started.
  const four = "until [ $(grep -c ^1 readings) -ge 4 ]; do sleep 0.01; done";
  const script = `echo 1 >> readings; ${four}; sleep 0.05; echo -1 >> readings; exit 1`;
  const command = { kind: "command", argv: ["sh", "-c", script] } as const;
  const { world, run } = await exited({ stage: { gate: command } });
  const results = await Promise.all(Array.from({ length: 9 }, () => finalise(world, run)));
  expect(results.map((result) => result.kind)).toEqual(Array(9).fill("settle"));
  const steps = readFileSync(join(world.world.baseDir, "readings"), "utf8").trim().split("\n").map(Number);
  let now = 0;
  expect(Math.max(...steps.map((step) => (now += step)))).toBe(4);
});

const waits = { kind: "command", argv: ["sh", "-c", "sleep 0.2"] } as const;

test("one limit for the whole gate, however many commands it is made of: past it, unreadable [B-19]", async () => {
  const all = { kind: "all", gates: [waits, waits, waits] } as const;
  const { world, run } = await exited({ stage: { gate: all, gateTimeoutMs: 300, gatePatienceMs: 600_000 } });
  expect(await finalise(world, run)).toMatchObject({ kind: "wait", why: "no answer within 300 ms" });
});

test("a store or a disk that does not answer while a gate is read is within the limit too", async () => {
  const { world, run } = await exited({ stage: { gate, gateTimeoutMs: 20, gatePatienceMs: 600_000 } });
  const { get } = world.seen.items;
  world.seen.items.get = async () => await new Promise<never>(() => undefined);
  const stuck = await Promise.all(Array.from({ length: 2 }, () => finalise(world, run)));
  expect(stuck).toMatchObject(["no answer within 20 ms", "no answer within 20 ms"].map((why) => ({ kind: "wait", why })));
  world.seen.items.get = get;
});

test("what a gate command says is kept in the run's log, within the stage's bound", async () => {
  const argv = ["sh", "-c", "head -c 20000 /dev/zero | tr '\\0' g; exit 1"];
  const { world, run } = await exited({ stage: { gate: { kind: "command", argv }, log: { maxBytes: 4096 } } });
  const runDir = runDirOf(world.world.paths, run.runId);
  mkdirSync(runDir, { recursive: true });
  expect(await finalise(world, run)).toMatchObject({ settlement: { reason: "gate_red" } });
  const text = readFileSync(runFiles(runDir).stderrLog, "utf8");
  expect(text).toContain("g".repeat(2048));
  expect(text).toContain(`${20_000 - 2048} bytes of the gate's output were dropped here (log.maxBytes is 4096)`);
});
