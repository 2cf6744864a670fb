import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { at } from "../../test/support/judged-run.ts";
import { explainExitCode, meaningOfExit } from "./exit-policy.ts";
import { type ExitFacts, type GateReading, resolveExit } from "./exit-resolution.ts";

const exit = (facts: Partial<ExitFacts>) =>
  resolveExit({ exitCode: 0, policy: {}, position: "pending", gate: { kind: "green" }, gatePatienceMs: 600_000, now: at(600), ...facts });

describe("exit 0", () => {
  test("with the stage already past, or unknown, the job is done and nothing advances [B-41]", () => {
    for (const position of ["past", "unknown_stage"] as const) {
      expect(exit({ position, gate: { kind: "not_read" } })).toEqual({ kind: "done", advance: false, reason: "exit0_already_advanced" });
    }
  });

  test("a failed lookup is never 'already advanced': it is looked up again, and gives out as red [B-G2, B-60]", () => {
    const position = "lookup_failed";
    expect(exit({ position })).toEqual({ kind: "wait", reason: "lookup_failed", gatePendingAt: at(600), readAgainAt: at(601) });
    expect(exit({ position, gatePendingAt: at(0) })).toMatchObject({ kind: "retry_contract", outcome: { kind: "gate_unreadable" } });
  });

  test("with the stage pending the gate is asked for first [B-43]", () => {
    expect(exit({ gate: { kind: "not_read" } })).toEqual({ kind: "read_gate" });
  });

  test("a red gate is an outcome for the retry contract, never an advance [B-44]", () => {
    expect(exit({ gate: { kind: "red", reason: "no tests" } })).toEqual({
      kind: "retry_contract",
      outcome: { kind: "gate_red", reason: "exit 0, but the gate is red: no tests" },
    });
  });

  test("no branch is red [B-45]", () => {
    expect(exit({ gate: { kind: "no_branch" } })).toMatchObject({ kind: "retry_contract", outcome: { kind: "gate_red" } });
  });

  test("a stage without a gate is green [B-46]", () => {
    expect(exit({ gate: { kind: "none" } })).toEqual({ kind: "done", advance: true, reason: "exit0_no_gate" });
  });

  test("a gate that throws is red at once with patience 0 [B-47]", () => {
    const outcome = exit({ gate: { kind: "unreadable", error: "boom" }, gatePatienceMs: 0 });
    expect(outcome).toMatchObject({
      kind: "retry_contract",
      outcome: { kind: "gate_unreadable", reason: expect.stringContaining("boom") },
    });
  });

  test("an unreadable gate is read again with backoff until its patience is over", () => {
    const gate = { kind: "unreadable", error: "timeout" } as const;
    expect(exit({ gate })).toEqual({ kind: "wait", reason: "gate_unreadable", gatePendingAt: at(600), readAgainAt: at(601) });
    expect(exit({ gate, gatePendingAt: at(500), failedReadings: 4 })).toMatchObject({ gatePendingAt: at(500), readAgainAt: at(616) });
    expect(exit({ gate, gatePendingAt: at(10), failedReadings: 9 })).toMatchObject({ readAgainAt: at(610) });
    expect(exit({ gate, gatePendingAt: at(0) })).toMatchObject({ kind: "retry_contract", outcome: { kind: "gate_unreadable" } });
  });

  test("a green gate is done and advance in one [B-48]", () => {
    expect(exit({})).toEqual({ kind: "done", advance: true, reason: "exit0_gate_green" });
  });

  test("a job without an item closes by its exit code", () => {
    expect(exit({ position: "no_item", gate: { kind: "not_read" } })).toEqual({ kind: "done", advance: false, reason: "exit0_no_item" });
    expect(exit({ position: "no_item", exitCode: 2 })).toMatchObject({ kind: "retry_contract", outcome: { kind: "failed" } });
  });

  test("a run that we stopped keeps our reason, whatever it exited with", () => {
    const stoppedFor = { kind: "timed_out", reason: "running for 660 s" } as const;
    for (const exitCode of [0, 1, 143]) expect(exit({ exitCode, stoppedFor })).toEqual({ kind: "retry_contract", outcome: stoppedFor });
  });
});

test("a non-zero exit never yields done, whatever else is known [B-40]", () => {
  const gates = fc.constantFrom<GateReading>({ kind: "none" }, { kind: "green" }, { kind: "not_read" }, { kind: "no_branch" });
  const positions = fc.constantFrom("pending", "past", "unknown_stage", "no_item", "lookup_failed" as const);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 255 }), gates, positions, (exitCode, gate, position) => {
      expect(exit({ exitCode, gate, position }).kind).toBe("retry_contract");
    }),
  );
});

describe("exit codes", () => {
  test("where nobody knows, a status is a signal if that signal kills, unless the policy names the code [F-2.3]", () => {
    const codes = Array.from({ length: 256 }, (_, code) => code);
    const signals = codes.filter((code) => meaningOfExit(code, {}).kind === "signal");
    expect(signals).toEqual([...codes.slice(129, 145), 152, 153, 154, 155, 157, 158, 159]);
    expect(meaningOfExit(137, { retryOn: [137] }).kind).toBe("retry");
    expect(meaningOfExit(137, { failOn: [137] }).kind).toBe("fail");
    expect(exit({ exitCode: 137 })).toMatchObject({ outcome: { kind: "lost", reason: "killed: signal 9, or exit code 137" } });
    expect(explainExitCode(3)).toBe("exit code 3");
  });

  test("who waited for the command knows whether it was a signal, and a list that names the code still decides [F-2.3]", () => {
    for (const exitCode of [129, 137, 145, 192]) {
      const reason = `exit code ${exitCode}`;
      expect(exit({ exitCode, endedBy: "code" })).toMatchObject({ outcome: { kind: "failed", reason } });
      const killed = `killed: signal ${exitCode - 128}`;
      expect(exit({ exitCode, endedBy: "signal" })).toEqual({ kind: "retry_contract", outcome: { kind: "lost", reason: killed } });
    }
    expect(meaningOfExit(137, { holdOn: [137] }, "signal")).toEqual({ kind: "hold", code: 137 });
    // No status of a signal: what says so is not believed.
    for (const code of [1, 128, 193, 255]) expect(meaningOfExit(code, {}, "signal")).toEqual({ kind: "retry", code });
  });

  test("the strictest list wins, and 0 succeeds whatever they say", () => {
    const all = { retryOn: [0, 3], failOn: [0, 3], holdOn: [0, 3] };
    expect([0, 3].map((code) => meaningOfExit(code, all).kind)).toEqual(["success", "hold"]);
    expect(exit({ exitCode: 3, policy: { failOn: [3] } })).toMatchObject({ outcome: { kind: "failed", disposition: "fail" } });
  });
});

test("a gate that the machine keeps from being read waits however long, and its patience begins anew", () => {
  const gate: GateReading = { kind: "unreadable", error: "EAGAIN", machine: true };
  const resolution = exit({ gate, gatePendingAt: at(0), gatePatienceMs: 1000, failedReadings: 9 });
  expect(resolution).toEqual({ kind: "wait", reason: "gate_unreadable", gatePendingAt: at(600), readAgainAt: at(602) });
});
