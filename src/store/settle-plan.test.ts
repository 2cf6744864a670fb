import { expect, test } from "vitest";
import { asJobId, asOwnerEpoch, asRunId, asWorkerId } from "../domain/ids.ts";
import { addMs, asInstant } from "../domain/time.ts";
import type { Settlement } from "./port/runs.ts";
import { isPlainSuccess, type LostRun, planLoss, planSettlement, type RunFacts } from "./settle-plan.ts";

const now = asInstant(1_000_000);

function facts(overrides: Partial<RunFacts> = {}): RunFacts {
  return {
    runId: asRunId(5),
    jobId: asJobId(3),
    attempt: 1,
    state: "started",
    ownerEpoch: asOwnerEpoch(1),
    workerId: asWorkerId(2),
    slotKey: null,
    outcome: null,
    reason: null,
    exitCode: null,
    currentRunId: asRunId(5),
    currentEpoch: asOwnerEpoch(1),
    attempts: 1,
    maxAttempts: 2,
    losses: 0,
    maxLosses: null,
    lastLossAt: null,
    itemId: null,
    visitId: null,
    queue: "t",
    agent: null,
    repo: null,
    ...overrides,
  };
}

function failed(overrides: Partial<Settlement> = {}): Settlement {
  return {
    runId: asRunId(5),
    ownerEpoch: asOwnerEpoch(1),
    jobId: asJobId(3),
    outcome: "failed",
    reason: "exit_code",
    message: "exit code 1",
    exitCode: 1,
    spend: "attempt",
    then: { to: "queued" },
    ...overrides,
  };
}

const endOf = (settlement: Settlement, of: RunFacts) => {
  const plan = planSettlement(settlement, of, now);
  if (plan.kind !== "end") throw new Error(`no end: ${JSON.stringify(plan)}`);
  return plan.end;
};

test("only the fence of the job's current run may end it [B-G1]", () => {
  expect(planSettlement(failed(), undefined, now)).toEqual({ kind: "gone" });
  expect(planSettlement(failed(), facts({ ownerEpoch: asOwnerEpoch(2), currentEpoch: asOwnerEpoch(2) }), now)).toMatchObject({
    kind: "lost",
  });
  expect(planSettlement(failed(), facts({ currentRunId: asRunId(9) }), now)).toMatchObject({ kind: "lost" });
  expect(planSettlement(failed(), facts({ jobId: asJobId(4) }), now)).toMatchObject({ kind: "lost" });
  const ended = facts({ state: "ended", outcome: "failed", reason: "exit_code", currentRunId: null, currentEpoch: null });
  expect(planSettlement(failed(), ended, now)).toEqual({ kind: "already" });
  expect(planSettlement(failed({ outcome: "hung" }), ended, now)).toMatchObject({
    kind: "lost",
    now: { state: "ended", ownerEpoch: 1, workerId: 2 },
  });
});

test("a retry asks for an attempt that is left; a loss or nothing spent does not [B-34] [B-35] [B-37]", () => {
  expect(endOf(failed(), facts({ attempts: 1 })).jobState).toBe("queued");
  expect(endOf(failed(), facts({ attempts: 2 }))).toMatchObject({
    jobState: "failed",
    finishedAt: now,
    alert: { state: "failed", runId: 5 },
  });
  expect(endOf(failed({ spend: "loss" }), facts({ attempts: 2 }))).toMatchObject({
    jobState: "queued",
    attempts: 1,
    losses: 1,
    lastLossAt: now,
  });
  expect(endOf(failed({ spend: "nothing" }), facts({ attempts: 2 }))).toMatchObject({ jobState: "queued", attempts: 1, losses: 0 });
});

test("a run that was not counted at its start is counted by its end, if it spends", () => {
  const reserved = facts({ state: "reserved", attempts: 0 });
  expect(endOf(failed({ startedAt: now }), reserved).attempts).toBe(1);
  expect(endOf(failed({ spend: "nothing", outcome: "released" }), reserved).attempts).toBe(0);
  expect(endOf(failed({ spend: "loss" }), reserved)).toMatchObject({ attempts: 0, losses: 1 });
});

test("the error names the run once, and a success leaves the last one", () => {
  expect(endOf(failed(), facts()).error).toBe("exit code 1 (run 5)");
  expect(endOf(failed({ message: "hung (run 5)" }), facts()).error).toBe("hung (run 5)");
  expect(endOf(failed({ outcome: "succeeded", reason: "exit_0", exitCode: 0, then: { to: "done" } }), facts()).error).toBeNull();
});

test("a slot is given back unless the process must still be stopped", () => {
  const holding = facts({ slotKey: "p.prep" });
  expect(endOf(failed(), holding)).toMatchObject({ releasedSlot: "p.prep", stopBy: null });
  expect(endOf(failed({ stopBy: addMs(now, 5) }), holding)).toMatchObject({ releasedSlot: null, stopBy: addMs(now, 5) });
});

test("done is for a success without a bad exit, given or on record [B-40]", () => {
  const done = failed({ outcome: "succeeded", then: { to: "done" } });
  expect(() => planSettlement(done, facts(), now)).toThrow(/exit code 1/);
  expect(() => planSettlement({ ...done, exitCode: 0, outcome: "failed" }, facts(), now)).toThrow(/failed/);
  const { exitCode: _given, ...silent } = done;
  expect(() => planSettlement(silent, facts({ exitCode: 7 }), now)).toThrow(/exit code 7/);
  expect(endOf(silent, facts()).exitCode).toBeNull();
});

test("a success is plain only when it says nothing of its own", () => {
  const { message: _message, exitCode: _code, ...rest } = failed({ outcome: "succeeded", then: { to: "done" } });
  expect(isPlainSuccess(rest)).toBe(true);
  expect(isPlainSuccess({ ...rest, then: { to: "done", output: "1" } })).toBe(true);
  for (const own of [
    { message: "m" },
    { exitCode: 0 },
    { actor: "a" },
    { stopBy: now },
    { ownerEpoch: asOwnerEpoch(2) },
    { spend: "nothing" as const },
  ]) {
    expect(isPlainSuccess({ ...rest, ...own })).toBe(false);
  }
});

const lost = (overrides: Partial<LostRun> = {}): LostRun => ({ ...facts(), neverStartedBefore: 0, ...overrides });
const event = { now, reason: "dead_pid", actor: "worker-reaper", spread: undefined };

test("a loss spends a loss where the job counts them, else an attempt; the last of either ends the job", () => {
  expect(planLoss(lost({ attempts: 1 }), event)).toMatchObject({ outcome: "lost", spent: "attempt", jobState: "queued", attempts: 1 });
  expect(planLoss(lost({ attempts: 2 }), event)).toMatchObject({ jobState: "failed" });
  expect(planLoss(lost({ maxLosses: 3, losses: 1 }), event)).toMatchObject({ spent: "loss", jobState: "queued", attempts: 0, losses: 2 });
  expect(planLoss(lost({ maxLosses: 3, losses: 2 }), event)).toMatchObject({ jobState: "held", losses: 3 });
});

test("an unstarted run is lost unspent, but not for ever", () => {
  const reserved = { state: "reserved", attempts: 0 } as const;
  expect(planLoss(lost(reserved), event)).toMatchObject({
    outcome: "never_started",
    spent: "nothing",
    jobState: "queued",
    attempts: 0,
    lastLossAt: null,
  });
  expect(planLoss(lost({ ...reserved, neverStartedBefore: 3 }), event)).toMatchObject({ spent: "attempt", attempts: 1 });
  expect(planLoss(lost({ ...reserved, attempts: 1, neverStartedBefore: 3 }), event)).toMatchObject({
    spent: "attempt",
    jobState: "failed",
  });
});

test("a spread gives each job a place of its own within it; a job lost twice within a minute waits longer each time", () => {
  const spread = { from: now, overMs: 10_000 };
  const places = Array.from({ length: 50 }, (_, id) => planLoss(lost({ jobId: asJobId(id + 1) }), { ...event, spread }).runAt ?? 0);
  expect(new Set(places).size).toBe(50);
  for (const place of places) {
    expect(place).toBeGreaterThanOrEqual(now);
    expect(place).toBeLessThan(now + 10_000);
  }
  const soon = addMs(now, -1_000);
  const waits = [0, 1, 2].map((losses) => (planLoss(lost({ maxLosses: 9, losses, lastLossAt: soon }), event).runAt ?? 0) - now);
  expect(waits).toEqual([1_000, 2_000, 4_000]);
  expect(planLoss(lost({ lastLossAt: addMs(now, -60_000) }), event).jobState).toBe("queued");
});
