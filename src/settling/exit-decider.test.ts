import { describe, expect, test } from "vitest";
import { at } from "../../test/support/judged-run.ts";
import { liveRun } from "../../test/support/live-run.ts";
import { chain } from "../../test/support/loop-world.ts";
import { asItemId, asVisitId } from "../domain/ids.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import type { LiveRun } from "../store/port/runs.ts";
import { type DecidingOptions, ExitDecider, type ReadExit } from "./exit-decider.ts";

const gate = { kind: "file", path: "green", anyAge: true } as const;
const none = { kind: "none" } as const;
const unreadable = { kind: "unreadable", error: "no answer" } as const;
const json = { kind: "json", text: '{"pages":3}' } as const;

function deciderOf(stage: Partial<StageDefinition> = {}): ExitDecider {
  const registry = new PipelineRegistry([chain("p", ["prep", "ocr"], { stage: { gate, gatePatienceMs: 600_000, ...stage } })]);
  return new ExitDecider({ registry, versions: {}, random: () => 0.5, now: () => at(600) });
}

/** A run of p/prep that has exited well while its item is at that very visit, and whose gate is green. */
async function decide(
  run: Partial<LiveRun> = {},
  read: Partial<ReadExit> = {},
  options: Partial<DecidingOptions> & { readonly stage?: Partial<StageDefinition> } = {},
) {
  const item = { itemId: asItemId(7), visitId: asVisitId(8), itemVisitId: asVisitId(8), itemStage: "prep", pipeline: "p" };
  const exited = liveRun({ state: "exited", exitCode: 0, exitedAt: at(600), queue: "p/prep", ...item, ...run });
  const decider = deciderOf(options.stage);
  return await decider.decide(exited, { output: none, gate: { kind: "green" }, ...read }, { actor: "test", ...options });
}

test("the gate is asked for where it decides, and only there", async () => {
  const unread = { gate: { kind: "not_read" } } as const;
  expect(await decide({}, unread)).toMatchObject({ kind: "read_gate", stage: { name: "prep" } });
  expect(await decide({ exitCode: 1 }, unread)).toMatchObject({ settlement: { outcome: "failed", reason: "exit_code" } });
  expect(await decide({}, unread, { stage: { gate: undefined } })).toMatchObject({ settlement: { reason: "exit0_no_gate" } });
});

test("a green gate moves the item on with the run's output, and the evidence of whoever decides has the exit code", async () => {
  const decision = await decide({}, { output: json }, { evidence: { gate: "file" } });
  expect(decision).toMatchObject({
    kind: "settle",
    settlement: {
      outcome: "succeeded",
      reason: "exit0_gate_green",
      output: json.text,
      advance: { kind: "next", stage: "ocr" },
      exitCode: 0,
      evidence: JSON.stringify({ gate: "file", exitCode: 0 }),
      actor: "test",
    },
  });
  const plain = [await decide({}, {}, { evidence: "words" }), await decide()];
  expect(plain).toMatchObject(plain.map(() => ({ settlement: { output: undefined, evidence: '{"exitCode":0}' } })));
});

test("an exit whose code nobody knows is lost, with what was seen [B-40]", async () => {
  const settlement = { outcome: "lost", reason: "exit_unknown", evidence: '{"seen":1}', exitCode: undefined };
  expect(await decide({ exitCode: null }, { output: json }, { evidence: { seen: 1 } })).toMatchObject({ kind: "settle", settlement });
});

test("the code of an end is its cause: an exit, or what became of it", async () => {
  const bad = { output: { kind: "bad", why: "no JSON" } } as const;
  const reasonOf = async (...given: Parameters<typeof decide>) => {
    const decision = await decide(...given);
    return decision.kind === "settle" ? [decision.settlement.outcome, decision.settlement.reason] : decision.kind;
  };
  expect(await reasonOf({ exitCode: 3 })).toEqual(["failed", "exit_code"]);
  expect(await reasonOf({ exitCode: 137 })).toEqual(["lost", "exit_code"]);
  expect(await reasonOf({ exitCode: 3 }, bad), "only a success has an output").toEqual(["failed", "exit_code"]);
  expect(await reasonOf({}, bad)).toEqual(["bad_output", "bad_output"]);
  expect(await reasonOf({}, { gate: { kind: "red", reason: "no tests" } })).toEqual(["gate_red", "gate_red"]);
  const stoppedFor = { kind: "timed_out", reason: "running for 660 s" } as const;
  expect(await reasonOf({ exitCode: 143 }, {}, { stoppedFor })).toEqual(["timed_out", "timed_out"]);
  const exitCodes = { retryOn: [], failOn: [], holdOn: [3] };
  expect(await decide({ exitCode: 3 }, {}, { stage: { exitCodes } })).toMatchObject({ settlement: { disposition: "hold" } });
});

describe("where the item stands", () => {
  const moved = {
    kind: "settle",
    settlement: { outcome: "succeeded", reason: "exit0_already_advanced", advance: undefined, output: undefined },
  };

  test("past the stage, or in another visit of it, nothing moves and no output counts [B-41]", async () => {
    expect(await decide({ itemStage: "ocr" }, { output: json })).toMatchObject(moved);
    expect(await decide({ itemVisitId: asVisitId(9) }, { output: { kind: "bad", why: "no JSON" } })).toMatchObject(moved);
    expect(await decide({ queue: "gone/prep", itemVisitId: asVisitId(9) }), "of a stage that nobody declares").toMatchObject(moved);
  });

  test("without an item the exit code alone decides", async () => {
    const alone = { itemId: null, visitId: null, itemVisitId: null, itemStage: null, pipeline: null, queue: "dev" };
    const settlement = { outcome: "succeeded", reason: "exit0_no_item", output: json.text, advance: undefined };
    expect(await decide(alone, { output: json })).toMatchObject({ settlement });
  });

  test("a stage that cannot be looked up is looked up again", async () => {
    expect(await decide({ itemStage: null })).toEqual({ kind: "wait", readAgainAt: at(601), pendingSince: at(600), why: "lookup_failed" });
  });

  test("what follows is declared nowhere: held for a person, who is told which stage to declare", async () => {
    const settlementOf = async (...given: Parameters<typeof decide>) => {
      const decision = await decide(...given);
      if (decision.kind !== "settle" || decision.settlement.outcome === "succeeded") throw new Error("it is settled well");
      return decision.settlement;
    };
    const undeclared = await settlementOf({ queue: "gone/prep", pipeline: "gone" });
    expect(undeclared).toMatchObject({
      outcome: "failed",
      reason: "stage_vanished",
      disposition: "hold",
      exitCode: 0,
      evidence: '{"exitCode":0}',
    });
    expect(undeclared.message).toContain("stage prep of pipeline gone is not declared any more");
    const next = await settlementOf({}, {}, { stage: { next: "print" } });
    expect(next.message).toContain("stage print of pipeline p, which follows prep, is not declared any more");
    expect(next.message).toContain("wakeful unhold job:5");
    const nowhere = await settlementOf({ pipeline: null, queue: "p/ocr", itemStage: "ocr" });
    expect(nowhere, "the last stage of no pipeline finishes no item").toMatchObject({ reason: "stage_vanished", disposition: "hold" });
  });
});

describe("a command that was never executed", () => {
  const failure = { step: "program", code: "ENOENT", otherDevice: false } as const;
  const unstarted = (blame: "job" | "machine") => ({ output: { kind: "not_started", blame, why: "cannot start: x", failure } }) as const;

  test("gives up at once where the next start would fail the same way", async () => {
    expect(await decide({ exitCode: 127 }, unstarted("job"))).toMatchObject({
      kind: "settle",
      settlement: { outcome: "failed", disposition: "give_up", reason: "start_failed", message: "cannot start: x", exitCode: 127 },
    });
  });

  test("has never started where the machine prevented it", async () => {
    expect(await decide({ exitCode: 127 }, unstarted("machine"))).toMatchObject({
      settlement: { outcome: "never_started", reason: "start_failed", message: "cannot start: x" },
    });
  });

  test("was stopped where we stopped it", async () => {
    const stoppedFor = { kind: "timed_out", reason: "too long" } as const;
    expect(await decide({ exitCode: 127 }, unstarted("job"), { stoppedFor })).toMatchObject({ settlement: { outcome: "timed_out" } });
  });
});

describe("a gate that cannot be read", () => {
  test("is read again with longer pauses, and is red once its patience is over", async () => {
    expect(await decide({}, { gate: unreadable })).toEqual({ kind: "wait", readAgainAt: at(601), pendingSince: at(600), why: "no answer" });
    expect(await decide({ gatePendingAt: at(0) }, { gate: unreadable })).toMatchObject({ settlement: { outcome: "gate_unreadable" } });
  });

  test("how long a reading took does not count as readings that failed, nor does one that began before the first had failed", async () => {
    const pauseOf = async (begunAt: number) => {
      const decision = await decide({ gatePendingAt: at(539) }, { gate: unreadable, begunAt: at(begunAt) });
      return decision.kind === "wait" && (decision.readAgainAt - at(600)) / 1000;
    };
    expect([await pauseOf(500), await pauseOf(540), await pauseOf(600)]).toEqual([1, 2, 60]);
  });
});

test("what a run leaves running stays where its stage says so", async () => {
  const run = liveRun({ queue: "p/prep" });
  expect([await deciderOf({ strays: "leave" }).leavesStrays(run), await deciderOf().leavesStrays(run)]).toEqual([true, false]);
  expect(await deciderOf({ strays: "leave" }).leavesStrays(liveRun())).toBe(false);
});
