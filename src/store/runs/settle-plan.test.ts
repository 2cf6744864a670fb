import fc from "fast-check";
import { expect, test } from "vitest";
import { asItemId, asJobId, asOwnerEpoch, asRunId, asWorkerId } from "../../domain/ids.ts";
import { addMs, asInstant } from "../../domain/time.ts";
import type { Failure, Settlement, Success } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import {
  hintsOfEnd,
  isPlainSuccess,
  lateResult,
  lostEndOf,
  planApart,
  planLoss,
  planSettlement,
  type RunEnd,
  type SettleFacts,
} from "./settle-plan.ts";

const now = asInstant(1_000_000);

function facts(overrides: Partial<SettleFacts> = {}): SettleFacts {
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
    sessionDeaths: 0,
    itemId: null,
    visitId: null,
    queue: "t",
    agent: null,
    repo: null,
    ...overrides,
  };
}

const fence = { runId: asRunId(5), ownerEpoch: asOwnerEpoch(1), jobId: asJobId(3) };

/** A failure that its stage has tried again at once. */
function failed(overrides: Partial<Failure> = {}): Failure {
  const retry = { policy: { onExhausted: "fail", delay: { baseMs: 0, maxMs: 0 } }, jitter: 0 } as const;
  return { ...fence, outcome: "failed", reason: "exit_code", message: "exit code 1", exitCode: 1, retry, ...overrides };
}

const succeeded = (overrides: Partial<Success> = {}): Success => ({ ...fence, outcome: "succeeded", reason: "returned", ...overrides });

const endOf = (settlement: Settlement, of: SettleFacts) => {
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
  expect(planSettlement(failed(), facts({ currentEpoch: asOwnerEpoch(2) }), now)).toMatchObject({ kind: "lost" });
  expect(planSettlement(failed(), facts({ jobId: asJobId(4) }), now)).toMatchObject({ kind: "lost" });
  const ended = facts({ state: "ended", outcome: "failed", reason: "exit_code", currentRunId: null, currentEpoch: null });
  expect(planSettlement(failed(), ended, now)).toEqual({ kind: "already" });
  // A supervisor that was taken over must learn that it lost the run, although the run ended as it says.
  expect(planSettlement(failed(), { ...ended, ownerEpoch: asOwnerEpoch(2) }, now)).toMatchObject({ kind: "lost", now: { ownerEpoch: 2 } });
  expect(planSettlement(failed({ outcome: "hung" }), ended, now)).toMatchObject({
    kind: "lost",
    now: { state: "ended", ownerEpoch: 1, workerId: 2 },
  });
});

test("who may not write is told why", () => {
  const why = (overrides: Partial<SettleFacts>) => {
    const plan = planSettlement(failed(), facts(overrides), now);
    return plan.kind === "lost" && plan.why;
  };
  const ended = { state: "ended", outcome: "hung", reason: "progress_stale", currentRunId: null, currentEpoch: null } as const;
  expect(why(ended)).toBe("attempt 1 has ended as hung (progress_stale)");
  expect(why({ ...ended, ownerEpoch: asOwnerEpoch(2) })).toBe("attempt 1 has ended as hung (progress_stale)");
  expect(why({ ownerEpoch: asOwnerEpoch(2) })).toBe("another supervisor took the run over (owner epoch 2, not 1)");
  expect(why({ jobId: asJobId(4) })).toBe("the run is one of job 4, not of job 3");
  expect(why({ currentRunId: asRunId(9) })).toBe("its job has moved on to another attempt");
});

test("a retry asks for an attempt that is left; a loss or nothing spent does not [B-34] [B-35] [B-37]", () => {
  expect(endOf(failed(), facts({ attempts: 1 })).jobState).toBe("queued");
  expect(endOf(failed(), facts({ attempts: 2 }))).toMatchObject({
    jobState: "failed",
    finishedAt: now,
    alert: { state: "failed", jobId: 3, runId: 5, queue: "t", reason: "exit_code", message: "exit code 1" },
  });
  expect(endOf(failed({ outcome: "lost" }), facts({ attempts: 2, maxLosses: 3 }))).toMatchObject({
    jobState: "queued",
    attempts: 1,
    losses: 1,
    lastLossAt: now,
  });
  expect(endOf(failed({ outcome: "released" }), facts({ attempts: 2 }))).toMatchObject({ jobState: "queued", attempts: 1, losses: 0 });
});

test("an exhausted budget ends the job as its stage says, and an item is kept for a person where none says", () => {
  const spent = facts({ attempts: 2 });
  const retry = { policy: { onExhausted: "hold", delay: { baseMs: 0, maxMs: 0 } }, jitter: 0 } as const;
  expect(endOf(failed({ retry }), spent)).toMatchObject({ jobState: "held", finishedAt: null, alert: { state: "held", runId: 5 } });
  const unknown = failed({ retry: { jitter: 0 } });
  expect(endOf(unknown, facts({ attempts: 2, itemId: asItemId(1) })).jobState).toBe("held");
  expect(endOf(unknown, spent).jobState).toBe("failed");
});

test("whatever the row counts, who holds the fence ends the run: a count that moved makes no end late", () => {
  const count = fc.integer({ min: 0, max: 12 });
  const counts = fc.record({ attempts: count, maxAttempts: fc.integer({ min: 1, max: 12 }), losses: count, sessionDeaths: count });
  const maxLosses = fc.option(fc.integer({ min: 1, max: 12 }), { nil: null });
  const outcome = fc.constantFrom("succeeded", "failed", "lost", "collateral", "never_started", "released", "hung", "cancelled" as const);
  const state = fc.constantFrom("reserved", "started", "exited" as const);
  fc.assert(
    fc.property(counts, maxLosses, outcome, state, (row, most, ended, at) => {
      const settlement = ended === "succeeded" ? succeeded() : failed({ outcome: ended, bySessionDeath: true });
      const end = endOf(settlement, facts({ ...row, maxLosses: most, state: at }));
      expect(end.jobState === "queued" || end.jobState === "scheduled").toBe(end.runAt !== null);
      expect(end.attempts).toBeGreaterThanOrEqual(0);
      if (end.runAt !== null && end.spent === "attempt") expect(end.attempts).toBeLessThan(row.maxAttempts);
    }),
  );
});

test("a run that was not counted at its start is counted by its end, if it spends", () => {
  const reserved = facts({ state: "reserved", attempts: 0 });
  expect(endOf(failed({ startedAt: now }), reserved).attempts).toBe(1);
  expect(endOf(failed({ outcome: "released" }), reserved).attempts).toBe(0);
  expect(endOf(failed({ outcome: "lost" }), facts({ ...reserved, maxLosses: 3 }))).toMatchObject({ attempts: 0, losses: 1 });
});

test("the error names the run once, and a success leaves the last one", () => {
  expect(endOf(failed(), facts()).error).toBe("exit code 1 (run 5)");
  expect(endOf(failed({ message: "hung (run 5)" }), facts()).error).toBe("hung (run 5)");
  expect(endOf(succeeded({ exitCode: 0 }), facts()).error).toBeNull();
});

test("only of a run that never started, or was released, does the death of its session count as one", () => {
  const outcomes = ["never_started", "released", "lost", "failed"] as const;
  const counted = (bySessionDeath: boolean) =>
    outcomes.map((outcome) => endOf(failed({ outcome, bySessionDeath }), facts()).bySessionDeath);
  expect([counted(true), counted(false)]).toEqual([
    [true, true, false, false],
    [false, false, false, false],
  ]);
  expect(endOf(failed({ outcome: "released" }), facts()).bySessionDeath).toBe(false);
});

test("only a success has an output", () => {
  expect([succeeded({ output: "1" }), succeeded()].map((settlement) => endOf(settlement, facts()).output)).toEqual(["1", null]);
  expect(endOf(Object.assign(failed(), { output: "1" }), facts()).output).toBeNull();
});

test("an end names who made it; a success without a name needs no explaining, any other end is its worker's", () => {
  const ends = [failed({ actor: "reaper" }), succeeded({ actor: "reaper" }), failed(), succeeded()];
  expect(ends.map((settlement) => endOf(settlement, facts()).actor)).toEqual(["reaper", "reaper", "worker", null]);
});

test("nobody is alerted of a foreground run that failed, for its caller sees it", () => {
  expect(endOf(failed(), facts({ queue: "run", attempts: 2 }))).toMatchObject({ jobState: "failed", alert: null });
});

test("a late result keeps what was tried and why it came to nothing, without the output", () => {
  const parsed = (settlement: Settlement) => JSON.parse(lateResult(settlement, "its run has ended")) as unknown;
  expect(parsed(failed({ outcome: "gate_unreadable" }))).toEqual({
    ownerEpoch: 1,
    outcome: "gate_red",
    reason: "exit_code",
    message: "exit code 1",
    exitCode: 1,
    why: "its run has ended",
  });
  const mute = { ownerEpoch: 1, outcome: "succeeded", reason: "returned", why: "its run has ended" };
  expect(parsed(Object.assign(succeeded({ output: "1" }), { message: "done" }))).toEqual(mute);
});

test("the end of a run wakes those whom it may interest, and nobody else", () => {
  const hints = (change: Partial<RunEnd>) => {
    const told = new Set<StoreHint>();
    hintsOfEnd({ ...endOf(succeeded(), facts()), ...change }, told);
    return [...told];
  };
  expect(hints({})).toEqual([]);
  expect(hints({ releasedSlot: "p.prep" })).toEqual(["jobs"]);
  expect(hints({ jobState: "queued" })).toEqual(["jobs"]);
  expect(hints({ jobState: "scheduled" })).toEqual(["scheduled"]);
  expect(hints({ jobState: "queued", stopBy: now })).toEqual(["blocked"]);
  expect(hints({ itemId: asItemId(1) })).toEqual(["items"]);
});

test("a slot is given back unless the process must still be stopped", () => {
  const holding = facts({ slotKey: "p.prep" });
  expect(endOf(failed(), holding)).toMatchObject({ releasedSlot: "p.prep", stopBy: null });
  expect(endOf(failed({ stopBy: addMs(now, 5) }), holding)).toMatchObject({ releasedSlot: null, stopBy: addMs(now, 5) });
});

test("done is for a success without a bad exit, given or on record [B-40]", () => {
  expect(() => planSettlement(succeeded({ exitCode: 1 }), facts(), now)).toThrow(/exit code 1/);
  expect(planApart(succeeded({ exitCode: 1 }), facts(), now)).toEqual({
    kind: "failed",
    error: expect.objectContaining({ code: "bad_request", message: expect.stringContaining("exit code 1") as string }) as object,
  });
  expect(planApart(succeeded(), facts(), now)).toEqual(planSettlement(succeeded(), facts(), now));
  expect(() => planSettlement(succeeded(), facts({ exitCode: 7 }), now)).toThrow(/exit code 7/);
  expect(() => planSettlement(succeeded({ exitCode: 0 }), facts({ exitCode: 7 }), now)).toThrow(/exit code 7/);
  expect(endOf(succeeded(), facts()).exitCode).toBeNull();
});

test("a success is plain only when it says nothing of its own", () => {
  expect(isPlainSuccess(succeeded())).toBe(true);
  expect(isPlainSuccess(succeeded({ output: "1" }))).toBe(true);
  expect(isPlainSuccess(failed({ exitCode: undefined }))).toBe(false);
  for (const own of [
    { exitCode: 0 },
    { evidence: "{}" },
    { actor: "a" },
    { stopBy: now },
    { ownerEpoch: asOwnerEpoch(2) },
    { advance: { kind: "finish" } as const },
  ]) {
    expect(isPlainSuccess(succeeded(own))).toBe(false);
  }
});

const event = { now, reason: "dead_pid", actor: "worker-reaper", random: () => 0, recoverySpreadMs: 10_000 };
const alone = { index: 0, total: 1 };

test("a loss spends a loss where the job counts them, else an attempt; the last of either ends the job", () => {
  expect(planLoss(facts({ attempts: 1 }), alone, event)).toMatchObject({
    outcome: "lost",
    spent: "attempt",
    jobState: "queued",
    attempts: 1,
  });
  expect(planLoss(facts({ attempts: 2 }), alone, event)).toMatchObject({ jobState: "failed" });
  expect(planLoss(facts({ maxLosses: 3, losses: 1 }), alone, event)).toMatchObject({
    spent: "loss",
    jobState: "scheduled",
    attempts: 0,
    losses: 2,
  });
  expect(planLoss(facts({ maxLosses: 3, losses: 2 }), alone, event)).toMatchObject({ jobState: "held", losses: 3 });
});

test("of a lost run people read whose process it was, and of one without words its reason", () => {
  const held = facts({ agent: "a", repo: "r" });
  const end = planLoss(held, alone, event);
  expect(end.message).toBe("the process of worker 2 that ran attempt 1 is gone");
  expect(planLoss(facts({ state: "reserved" }), alone, event).message).toBe("worker 2 went before attempt 1 started");
  const told = {
    runId: 5,
    jobId: 3,
    queue: "t",
    workerId: 2,
    agent: "a",
    repo: "r",
    outcome: "lost",
    jobState: "queued",
    reason: "dead_pid",
  };
  expect(lostEndOf(end, held)).toEqual({ ...told, message: end.message });
  expect(lostEndOf({ ...end, message: null }, held)).toEqual({ ...told, message: "dead_pid" });
});

test("an unstarted run is lost unspent, but not for ever", () => {
  const reserved = { state: "reserved", attempts: 0 } as const;
  expect(planLoss(facts(reserved), alone, event)).toMatchObject({
    outcome: "never_started",
    spent: "nothing",
    jobState: "queued",
    attempts: 0,
    lastLossAt: null,
  });
  expect(planLoss(facts({ ...reserved, sessionDeaths: 3 }), alone, event)).toMatchObject({ spent: "attempt", attempts: 1 });
  expect(planLoss(facts({ ...reserved, attempts: 1, sessionDeaths: 3 }), alone, event)).toMatchObject({
    spent: "attempt",
    jobState: "failed",
  });
});

test("jobs beyond the first hundred of one event come back evenly over the spread", () => {
  const waits = Array.from({ length: 150 }, (_, index) => (planLoss(facts(), { index, total: 150 }, event).runAt ?? 0) - now);
  expect(waits.slice(0, 100)).toEqual(Array.from({ length: 100 }, () => 0));
  expect(waits.slice(100)).toEqual(Array.from({ length: 50 }, (_, index) => 200 * (index + 1)));
});

test("a first loss comes back at once, each further one after a longer delay with jitter, as the retry contract says", () => {
  const soon = addMs(now, -1_000);
  const waitAfter = (losses: number, random: () => number) =>
    (planLoss(facts({ maxLosses: 9, losses, lastLossAt: losses === 0 ? null : soon }), alone, { ...event, random }).runAt ?? 0) - now;
  expect([0, 1, 2, 3].map((losses) => waitAfter(losses, () => 0))).toEqual([0, 500, 1_000, 2_000]);
  expect([0, 1, 2, 3].map((losses) => waitAfter(losses, () => 0.5))).toEqual([0, 750, 1_500, 3_000]);
  const longAgo = facts({ attempts: 2, maxAttempts: 9, lastLossAt: addMs(now, -3_600_000) });
  expect(planLoss(longAgo, alone, event), "a second loss waits, however long ago the first was").toMatchObject({ jobState: "scheduled" });
});

test("a lost foreground run is cancelled, for nobody else would start its command", () => {
  expect(planLoss(facts({ queue: "run" }), alone, event)).toMatchObject({ jobState: "cancelled", alert: null });
});

test("a stored error names its run even where the text speaks of a number that looks like it [B-38]", () => {
  const error = (message: string, runId: number) =>
    endOf(failed({ message, runId: asRunId(runId) }), facts({ runId: asRunId(runId), currentRunId: asRunId(runId) })).error;
  expect(error("dry run 12 failed", 1)).toBe("dry run 12 failed (run 1)");
  expect(error("the dry run 1 failed", 1)).toBe("the dry run 1 failed (run 1)");
  expect(error("exit code 1 (run 1)", 1)).toBe("exit code 1 (run 1)");
});
