import { describe, expect, test } from "vitest";
import { at, evidenceOf, HandDrivenJudge, pidAlone, processEvidence, runFacts, wideAwake } from "../../test/support/judged-run.ts";
import { finishedAgeMs, runningAgeMs } from "./evidence.ts";
import { defaultMaxRunningMs, defaultRunThresholds, maxRunningOf } from "./run-thresholds.ts";
import { addDeaf, newVantage, viewOf } from "./vantage.ts";

const once = (...given: Parameters<HandDrivenJudge["tick"]>) => new HandDrivenJudge().tick(...given);
const longCeiling = { limits: { maxRunningMs: 86_400_000 } };

describe("tier 3: the ceiling", () => {
  test("a run past its ceiling is given up in one tick, with a living pid and with none [B-28]", () => {
    const run = runFacts({ limits: { maxRunningMs: 100_000 } });
    expect(once(run, pidAlone("alive"), at(500))).toEqual({ kind: "over_age", reason: "age_ceiling", ageMs: 500_000, ceilingMs: 100_000 });
    expect(once({ ...run, session: { heardAt: at(499), channel: "throughMe" } }, pidAlone("none"), at(500)).kind).toBe("over_age");
  });

  test("a living run under its ceiling is never given up: five ticks at 10 s, 1800 s of 3600 s [B-29]", () => {
    const judge = new HandDrivenJudge();
    for (let tick = 0; tick < 5; tick += 1) expect(judge.tick(runFacts(longCeiling), pidAlone("alive"), at(10)).kind).toBe("leave_alone");
    expect(once(runFacts({ limits: { maxRunningMs: 3_600_000 } }), pidAlone("alive"), at(1800)).kind).toBe("leave_alone");
  });

  test("the ceiling acts while tier 1 or tier 2 defers [B-30]", () => {
    const limits = { maxRunningMs: 100_000 };
    expect(once(runFacts({ limits }), pidAlone("dead"), at(100)).kind).toBe("over_age");
    expect(once(runFacts({ limits, state: "exited", exitCode: 3, exitedAt: at(99) }), pidAlone("dead"), at(100))).toMatchObject({
      kind: "over_age",
      exitCode: 3,
    });
  });

  test("suspended time of the host does not count as running time", () => {
    const run = runFacts({ limits: { maxRunningMs: 100_000, timeoutMs: 10_000 }, suspendedMs: 450_000 });
    expect(once(run, pidAlone("alive"), at(500)).kind).toBe("leave_alone");
  });

  test("the default ceiling exceeds everything that a run may honestly take [B-31]", () => {
    const times = { timeoutMs: 3_600_000, finaliseMs: 60_000, finalizeGraceMs: 300_000, gatePatienceMs: 600_000 };
    expect(defaultMaxRunningMs(times)).toBe(3_600_000 + 60_000 + 300_000 + 600_000 + 60_000);
    expect(defaultMaxRunningMs({ ...times, timeoutMs: undefined })).toBe(86_400_000);
    const limits = { timeoutMs: 3_600_000, finalizeGraceMs: 10_000 };
    expect(maxRunningOf({ limits }, defaultRunThresholds)).toBe(3_600_000 + 10_000 + 600_000 + 60_000);
    expect(maxRunningOf({ limits: { ...limits, maxRunningMs: 1 } }, defaultRunThresholds)).toBe(1);
    expect(maxRunningOf({ limits: {} }, { ...defaultRunThresholds, maxRunningMs: 5 })).toBe(5);
  });

  test("ages: running is 0 when the start is unknown, finished is unknown when the end is [B-14]", () => {
    expect(runningAgeMs({}, at(5))).toBe(0);
    expect(runningAgeMs({ startedAt: at(2) }, at(5))).toBe(3000);
    expect(finishedAgeMs({}, at(5))).toBeUndefined();
    expect(finishedAgeMs({ exitedAt: at(4) }, at(5))).toBe(1000);
  });
});

describe("tiers 0h and 0t: progress and timeout", () => {
  const beating = { limits: { heartbeatTimeoutMs: 600_000, maxRunningMs: 86_400_000 } } as const;

  test("progress 700 s old at a timeout of 600 s is hung, and exactly 600 s old is not [A-4]", () => {
    const run = runFacts({ ...beating, lastProgressAt: at(100) });
    expect(once(run, evidenceOf(), at(700)).kind).toBe("leave_alone");
    expect(once(run, evidenceOf(), at(700.001))).toMatchObject({ kind: "hung", reason: "progress_stale", silentMs: 600_001 });
    expect(once(run, evidenceOf(), at(800))).toMatchObject({ kind: "hung", silentMs: 700_000, limitMs: 600_000 });
  });

  test("without any progress a run is hung twice the timeout after its start [A-5]", () => {
    expect(once(runFacts(beating), evidenceOf(), at(1199.999)).kind).toBe("leave_alone");
    expect(once(runFacts(beating), evidenceOf(), at(1200))).toMatchObject({ kind: "hung", reason: "progress_absent", limitMs: 1_200_000 });
  });

  test("progress at the very start is the run's own", () => {
    expect(once(runFacts({ ...beating, lastProgressAt: at(0) }), evidenceOf(), at(601))).toMatchObject({
      kind: "hung",
      reason: "progress_stale",
    });
  });

  test("a frozen watcher calls nobody hung", () => {
    const judge = new HandDrivenJudge({ vantage: { ...wideAwake, mode: "frozen" } });
    expect(judge.tick(runFacts({ ...beating, lastProgressAt: at(0) }), evidenceOf(), at(9000)).kind).toBe("leave_alone");
  });

  test("an attempt never inherits the progress of the one before [A-G1]", () => {
    const run = runFacts({ ...beating, reservedAt: at(990), startedAt: at(1000), lastProgressAt: at(100) });
    expect(once(run, evidenceOf(), at(1000)).kind).toBe("leave_alone");
  });

  test("progress that could not be heard is not missed", () => {
    const vantage = addDeaf(newVantage(), { from: at(200), to: at(900), cause: "suspended" });
    const judge = new HandDrivenJudge({ vantage: viewOf(vantage, "workers") });
    const run = runFacts({ ...beating, lastProgressAt: at(100) });
    expect(judge.tick(run, evidenceOf(), at(1399)).kind).toBe("leave_alone");
    expect(judge.tick(run, evidenceOf(), at(1400.001)).kind).toBe("hung");
  });

  test("the reaper leaves a timeout to the supervisor for another 60 s", () => {
    const run = runFacts({ limits: { timeoutMs: 600_000 } });
    expect(once(run, evidenceOf(), at(660)).kind).toBe("leave_alone");
    expect(once(run, evidenceOf(), at(660.001))).toEqual({ kind: "timed_out", reason: "timeout", ageMs: 660_001, limitMs: 600_000 });
  });

  test("a run that has exited in time is not timed out while it is finalised", () => {
    const run = runFacts({ limits: { timeoutMs: 600_000 }, state: "exited", exitCode: 0, exitedAt: at(599) });
    expect(once(run, evidenceOf(), at(700)).kind).toBe("defer");
  });
});

describe("when a run is looked at again", () => {
  test("one that is proved alive after ten minutes, although its session is silent by then", () => {
    const expected = { kind: "leave_alone", reason: "no_limit_reached", nextCheckAt: at(700) };
    expect(once(runFacts(longCeiling), evidenceOf(), at(100))).toEqual(expected);
  });

  test("a second after a limit has passed that did not count, from the very instant on", () => {
    const judge = new HandDrivenJudge({ vantage: { ...wideAwake, mode: "frozen" } });
    const elsewhere = evidenceOf({
      process: processEvidence("unknown", { unknownBecause: "foreignHost" }),
      lifePipe: "unknown",
      supervisor: "unknown",
    });
    const answer = (second: number) => judge.tick(runFacts(), elsewhere, at(second));
    expect(answer(29.999)).toEqual({ kind: "leave_alone", reason: "no_limit_reached", nextCheckAt: at(30) });
    expect(answer(30)).toEqual({ kind: "leave_alone", reason: "doubted", nextCheckAt: at(31) });
  });

  test("a second after an alarm that proves nothing, or sooner where a limit comes first", () => {
    const failed = evidenceOf({ ...pidAlone("unknown"), process: processEvidence("unknown", { unknownBecause: "probeFailed" }) });
    const expected = { kind: "leave_alone", reason: "no_limit_reached" };
    expect(once(runFacts(), failed, at(10))).toEqual({ ...expected, nextCheckAt: at(11) });
    expect(once(runFacts(), failed, at(29.5))).toEqual({ ...expected, nextCheckAt: at(30) });
  });
});
