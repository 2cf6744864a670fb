import { describe, expect, test } from "vitest";
import { at, evidenceOf, HandDrivenJudge, pidAlone, processEvidence, runFacts, wideAwake } from "../../test/support/judged-run.ts";
import { asRunId } from "../domain/ids.ts";
import type { RunEvidence, RunFacts } from "./evidence.ts";
import { emptyRunMemory, forgetEnded, judgeRun } from "./run-policy.ts";
import { deadTicksNeeded, defaultRunThresholds } from "./run-thresholds.ts";
import { addDeaf, newVantage, viewOf } from "./vantage.ts";

const once = (...given: Parameters<HandDrivenJudge["tick"]>) => new HandDrivenJudge().tick(...given);
const longCeiling = { limits: { maxRunningMs: 86_400_000 } };

describe("tier 1: a dead process", () => {
  test("two dead looks prove a death, and the first alone defers [B-22, B-24]", () => {
    const judge = new HandDrivenJudge();
    expect(judge.tick(runFacts(), pidAlone("dead"), at(10))).toEqual({
      kind: "suspect",
      reason: "dead_pid",
      pid: 4242,
      streak: 1,
      of: 2,
      recheckAt: at(10.25),
    });
    expect(judge.tick(runFacts(), pidAlone("dead"), at(11))).toMatchObject({
      kind: "dead",
      outcome: "unknown",
      reason: "dead_pid",
      streak: 2,
    });
  });

  test("one living answer restarts the count: dead dead alive dead dead dead acts on the sixth look of three needed [B-25]", () => {
    const judge = new HandDrivenJudge({ thresholds: { deadTicks: 3 } });
    const lives = ["dead", "dead", "alive", "dead", "dead", "dead"] as const;
    const kinds = lives.map((life, tick) => judge.tick(runFacts(), pidAlone(life), at(tick)).kind);
    expect(kinds).toEqual(["suspect", "suspect", "leave_alone", "suspect", "suspect", "dead"]);
  });

  test("an unknown answer neither counts as a death nor takes one back", () => {
    const judge = new HandDrivenJudge();
    const kinds = (["dead", "unknown", "dead"] as const).map((life, tick) => judge.tick(runFacts(), pidAlone(life), at(tick)).kind);
    expect(kinds).toEqual(["suspect", "leave_alone", "dead"]);
  });

  test("a streak belongs to one process: another pid or start time begins anew", () => {
    const judge = new HandDrivenJudge();
    const dead = (startTime: string) =>
      evidenceOf({ process: processEvidence("dead", { startTime }), lifePipe: "unknown", supervisor: "unknown" });
    expect(judge.tick(runFacts(), dead("77"), at(1)).kind).toBe("suspect");
    expect(judge.tick(runFacts(), dead("78"), at(2))).toMatchObject({ kind: "suspect", streak: 1 });
  });

  test("the number of dead looks is 2 by default and never acts below 1 [B-23]", () => {
    expect(defaultRunThresholds.deadTicks).toBe(2);
    expect([0, -3, 1, Number.NaN, 1.5].map((deadTicks) => deadTicksNeeded({ deadTicks }))).toEqual([1, 1, 1, 1, 2]);
    expect(new HandDrivenJudge({ thresholds: { deadTicks: 0 } }).tick(runFacts(), pidAlone("dead"), at(1)).kind).toBe("dead");
    expect(new HandDrivenJudge({ thresholds: { deadTicks: 0 } }).tick(runFacts(), pidAlone("alive"), at(1)).kind).toBe("leave_alone");
  });

  test("without a pid the tier does not apply and the streak is cleared [B-26]", () => {
    const judge = new HandDrivenJudge();
    judge.tick(runFacts(), pidAlone("dead"), at(1));
    expect(judge.tick(runFacts(), pidAlone("none"), at(2)).kind).toBe("leave_alone");
    expect(judge.memory?.deadStreak).toBe(0);
  });

  test("a run without a pid, under its ceiling and with a living session is left alone [B-77]", () => {
    const run = runFacts({ ...longCeiling, session: { heardAt: at(1799), channel: "throughMe" } });
    expect(once(run, pidAlone("none"), at(1800)).kind).toBe("leave_alone");
  });

  test("a recorded exit clears the streak [B-20]", () => {
    const judge = new HandDrivenJudge();
    judge.tick(runFacts(), pidAlone("dead"), at(1));
    judge.tick(runFacts({ state: "exited", exitedAt: at(2), exitCode: 0 }), pidAlone("dead"), at(2));
    expect(judge.memory).toEqual(emptyRunMemory);
  });

  test("what is remembered of runs that no longer run is dropped [B-27]", () => {
    const memories = new Map([
      [asRunId(1), { deadStreak: 1 }],
      [asRunId(2), { deadStreak: 1 }],
    ]);
    forgetEnded(memories, new Set([asRunId(2)]));
    expect([...memories.keys()]).toEqual([2]);
  });

  test("thresholds count from the tick in which they are given [B-68]", () => {
    const judge = new HandDrivenJudge({ thresholds: { deadTicks: 5 } });
    judge.tick(runFacts(), pidAlone("dead"), at(1));
    judge.thresholds = { ...judge.thresholds, deadTicks: 2 };
    expect(judge.tick(runFacts(), pidAlone("dead"), at(2)).kind).toBe("dead");
  });

  test("a living answer leaves nothing of the dead ones before it", () => {
    const judge = new HandDrivenJudge();
    judge.tick(runFacts(), pidAlone("dead"), at(1));
    judge.tick(runFacts(), pidAlone("alive"), at(2));
    expect(judge.memory).toEqual({ deadStreak: 0, process: "4242/77" });
  });

  test("a dead command is dead although its strays hold the life pipe, and the verdict says so", () => {
    const judge = new HandDrivenJudge({ thresholds: { deadTicks: 1 } });
    expect(judge.tick(runFacts(), evidenceOf({ process: processEvidence("dead") }), at(1))).toMatchObject({
      kind: "dead",
      lifePipe: "held",
    });
  });

  test("a wrapper that died before a command started has started nothing, unless the life pipe is held", () => {
    const wrapper = { process: processEvidence("dead", { role: "wrapper" }), supervisor: "dead" } as const;
    const judge = () => new HandDrivenJudge({ thresholds: { deadTicks: 1 } });
    expect(judge().tick(runFacts(), evidenceOf({ ...wrapper, lifePipe: "released" }), at(1))).toMatchObject({ kind: "never_started" });
    expect(judge().tick(runFacts(), evidenceOf({ ...wrapper, lifePipe: "held" }), at(1))).toMatchObject({ kind: "dead" });
  });
});

describe("tier 2: a recorded exit", () => {
  const exited = { state: "exited", exitCode: 0, exitedAt: at(100) } as const;

  test("an exit as old as the grace has a known outcome [B-17]", () => {
    expect(once(runFacts(exited), pidAlone("dead"), at(400))).toMatchObject({
      kind: "exited_known",
      exitCode: 0,
      reason: "finalize_grace_over",
    });
  });

  test("an exit younger than the grace is deferred, with the numbers [B-18]", () => {
    expect(once(runFacts(exited), pidAlone("dead"), at(399))).toEqual({
      kind: "defer",
      reason: "finalising",
      exitCode: 0,
      ageMs: 299_000,
      limitMs: 300_000,
      recheckAt: at(400),
    });
  });

  test("the grace is 300 s by default, and 0 is legal [B-19]", () => {
    expect(defaultRunThresholds.finalizeGraceMs).toBe(300_000);
    const judge = new HandDrivenJudge({ thresholds: { finalizeGraceMs: 0 } });
    expect(judge.tick(runFacts(exited), pidAlone("dead"), at(100)).kind).toBe("exited_known");
  });

  test("an exit without a code is left to tier 3 as well, and nobody invents one", () => {
    const run = runFacts({ state: "exited", exitedAt: at(1), limits: { maxRunningMs: 1_000_000 } });
    expect(once(run, pidAlone("dead"), at(999)).kind).toBe("leave_alone");
    expect(once(run, pidAlone("dead"), at(1000))).toMatchObject({ kind: "over_age", exitCode: undefined });
  });

  test("a ceiling that comes before the end of the grace brings the next look forward", () => {
    const run = runFacts({ ...exited, limits: { maxRunningMs: 200_000 } });
    expect(once(run, pidAlone("dead"), at(199))).toMatchObject({ kind: "defer", recheckAt: at(200) });
  });

  test("an exit code without a finish time is left to tier 3 [B-21]", () => {
    const run = runFacts({ state: "exited", exitCode: 0, limits: { maxRunningMs: 1_000_000 } });
    expect(once(run, pidAlone("dead"), at(999)).kind).toBe("leave_alone");
    expect(once(run, pidAlone("dead"), at(1000))).toMatchObject({ kind: "over_age", exitCode: 0 });
  });

  test("a finaliser proved dead is followed at once: its steps are taken over, without steps the gate is read", () => {
    const dead = evidenceOf({ supervisor: "dead" });
    expect(once(runFacts({ ...exited, hasFinaliseSteps: true }), dead, at(101))).toMatchObject({
      kind: "take_over",
      reason: "finaliser_dead",
    });
    expect(once(runFacts(exited), dead, at(101))).toMatchObject({ kind: "exited_known", reason: "finaliser_dead" });
  });

  test("a gate that was unreadable has its patience in place of grace and ceiling", () => {
    const limits = { gatePatienceMs: 600_000, maxRunningMs: 500_000 };
    const run = runFacts({ ...exited, gatePendingAt: at(110), gateReadAgainAt: at(800), limits });
    expect(once(run, pidAlone("dead"), at(700))).toMatchObject({ kind: "defer", reason: "gate_pending", recheckAt: at(710) });
    expect(once(run, pidAlone("dead"), at(710))).toMatchObject({ kind: "exited_known", reason: "gate_patience_over" });
    expect(once({ ...run, gateReadAgainAt: at(600) }, pidAlone("dead"), at(600))).toMatchObject({
      kind: "exited_known",
      reason: "gate_due",
    });
  });

  test("while a living finaliser reads its gate again, nobody else does", () => {
    const run = runFacts({ ...exited, gatePendingAt: at(110), gateReadAgainAt: at(120) });
    expect(once(run, evidenceOf(), at(200))).toMatchObject({ kind: "defer", reason: "gate_pending" });
  });
});

describe("tier 1x: an exit on disk", () => {
  test("a whole record of this run is written down before anything else is judged", () => {
    const evidence = evidenceOf({ process: processEvidence("dead"), exitRecord: { kind: "exit", status: 0 } });
    expect(once(runFacts({ limits: { maxRunningMs: 1 } }), evidence, at(500))).toEqual({
      kind: "record_exit",
      reason: "exit_on_disk",
      status: 0,
    });
  });

  test("a torn record is no exit: the dead process decides, outcome unknown [B-40]", () => {
    const judge = new HandDrivenJudge({ thresholds: { deadTicks: 1 } });
    const evidence = evidenceOf({ process: processEvidence("dead"), exitRecord: { kind: "torn" } });
    expect(judge.tick(runFacts(), evidence, at(1))).toMatchObject({ kind: "dead", outcome: "unknown" });
  });

  test("a wrapper that never got the word has started nothing", () => {
    expect(once(runFacts(), evidenceOf({ exitRecord: { kind: "nogo" } }), at(1))).toMatchObject({ kind: "never_started", reason: "nogo" });
  });
});

describe("tier 0: another boot, or another namespace", () => {
  const otherBoot = evidenceOf({ process: processEvidence("otherBoot"), lifePipe: "unknown", supervisor: "unknown" });

  test("after a reboot the run is dead once its session is silent by the clock", () => {
    expect(once(runFacts(), otherBoot, at(29)).kind).toBe("leave_alone");
    expect(once(runFacts(), otherBoot, at(30))).toMatchObject({ kind: "dead", reason: "other_boot", sinceHeardMs: 30_000 });
  });

  test("another boot never counts towards the streak of tier 1", () => {
    const judge = new HandDrivenJudge();
    judge.tick(runFacts(), pidAlone("dead"), at(1));
    judge.tick(runFacts(), otherBoot, at(2));
    expect(judge.tick(runFacts(), pidAlone("dead"), at(3))).toMatchObject({ kind: "suspect", streak: 1 });
  });

  test("with a host conflict no pid evidence of either is used: only silence counts", () => {
    const run = runFacts({ session: { heardAt: at(90), channel: "throughMe" } });
    for (const life of ["dead", "otherBoot"] as const) {
      const evidence = evidenceOf({ process: processEvidence(life), supervisor: "dead", hostConflict: true });
      const judge = new HandDrivenJudge({ thresholds: { deadTicks: 1 } });
      expect(judge.tick(run, evidence, at(100)).kind).toBe("leave_alone");
      expect(judge.tick(run, evidence, at(120))).toMatchObject({ kind: "dead", reason: "session_silent" });
    }
  });

  test("in another namespace a released life pipe proves the death, a held one keeps the run from silence", () => {
    const process = processEvidence("unknown", { unknownBecause: "otherNamespace" });
    expect(once(runFacts(), evidenceOf({ process, lifePipe: "released", supervisor: "unknown" }), at(1))).toMatchObject({
      kind: "dead",
      reason: "life_pipe_released",
    });
    expect(once(runFacts(longCeiling), evidenceOf({ process, lifePipe: "held", supervisor: "unknown" }), at(9000)).kind).toBe(
      "leave_alone",
    );
  });

  test("a released life pipe beside a living process proves nothing: a command may close descriptors", () => {
    expect(once(runFacts(), evidenceOf({ lifePipe: "released" }), at(1)).kind).toBe("leave_alone");
  });
});

describe("tier 1s: never started", () => {
  const reserved = { state: "reserved", startedAt: undefined } as const;
  const unprobed = { process: undefined, lifePipe: "unknown", supervisor: "unknown" } as const;

  test("a reserved run that its worker does not hold, or has not named for 30 s, never started", () => {
    const disowned = evidenceOf({ ...unprobed, report: { kind: "doesNotHold", at: at(1) } });
    expect(once(runFacts(reserved), disowned, at(1))).toMatchObject({ kind: "never_started", reason: "not_held", bySessionDeath: false });
    const run = runFacts({ ...reserved, session: { heardAt: at(29), channel: "throughMe" } });
    const unnamed = evidenceOf({ ...unprobed, report: { kind: "notNamed", since: at(0) } });
    expect(once(run, unnamed, at(29.9)).kind).toBe("leave_alone");
    expect(once(run, unnamed, at(30))).toMatchObject({ kind: "never_started", reason: "not_named", bySessionDeath: false });
  });

  test("a run that its worker goes on naming stays reserved", () => {
    const run = runFacts({ ...reserved, session: { heardAt: at(599), channel: "throughMe" } });
    expect(once(run, evidenceOf({ report: { kind: "holds", at: at(599) } }), at(600))).toMatchObject({
      kind: "leave_alone",
      nextCheckAt: at(629),
    });
  });

  test("whoever dies before a start, the run has started nothing", () => {
    const run = runFacts(reserved);
    expect(once(run, evidenceOf({ ...unprobed, supervisor: "dead" }), at(1))).toMatchObject({
      reason: "session_dead",
      bySessionDeath: true,
    });
    const judge = new HandDrivenJudge({ thresholds: { deadTicks: 1 } });
    const bySessionDeath = true;
    expect(judge.tick(run, pidAlone("dead"), at(1))).toMatchObject({
      kind: "never_started",
      reason: "dead_pid",
      pid: 4242,
      bySessionDeath,
    });
    expect(once(run, pidAlone("otherBoot"), at(30))).toMatchObject({ kind: "never_started", reason: "other_boot", bySessionDeath });
    expect(once(run, pidAlone("dead"), at(1)), "one dead look proves nothing").toMatchObject({
      kind: "suspect",
      pid: 4242,
      streak: 1,
      of: 2,
    });
  });

  test("a run that was named of late is given back once its session is silent, and a silent session is why it is unnamed", () => {
    const silent = { kind: "never_started", bySessionDeath: true, limitMs: 30_000 };
    const named = evidenceOf({ ...unprobed, report: { kind: "holds", at: at(20) } });
    expect(once(runFacts(reserved), named, at(29.999)).kind).toBe("leave_alone");
    expect(once(runFacts(reserved), named, at(30))).toMatchObject({ ...silent, reason: "session_silent" });
    const unnamed = evidenceOf({ ...unprobed, report: { kind: "notNamed", since: at(0) } });
    expect(once(runFacts(reserved), unnamed, at(30))).toMatchObject({ ...silent, reason: "not_named" });
  });

  test("even a run that is named for ever ends at its ceiling", () => {
    const run = runFacts({ ...reserved, limits: { maxRunningMs: 60_000 }, session: { heardAt: at(60), channel: "throughMe" } });
    expect(once(run, evidenceOf({ report: { kind: "holds", at: at(60) } }), at(60))).toMatchObject({
      kind: "never_started",
      reason: "age_ceiling",
      bySessionDeath: false,
      limitMs: 60_000,
    });
  });
});

describe("tier 1o: alive without a supervisor", () => {
  test("it waits to be adopted, and is stopped when nobody came for 30 s", () => {
    const judge = new HandDrivenJudge();
    const orphan = evidenceOf({ supervisor: "dead" });
    expect(judge.tick(runFacts(), orphan, at(100))).toMatchObject({ kind: "orphaned_adopt", waitedMs: 0, recheckAt: at(130) });
    expect(judge.tick(runFacts(), orphan, at(129.9)).kind).toBe("orphaned_adopt");
    expect(judge.tick(runFacts(), orphan, at(130))).toMatchObject({ kind: "stop_then_dead", waitedMs: 30_000 });
  });

  test("only a living command that has started is an orphan, told by its pid or by its life pipe", () => {
    const orphanedSince = (run: Partial<RunFacts>, seen: Partial<RunEvidence>) => {
      const judge = new HandDrivenJudge();
      judge.tick(runFacts(run), evidenceOf({ supervisor: "dead", ...seen }), at(5));
      return judge.memory?.orphanedSince;
    };
    const unknown = processEvidence("unknown", { unknownBecause: "otherNamespace" });
    expect([orphanedSince({}, { lifePipe: "released" }), orphanedSince({}, { process: unknown })]).toEqual([at(5), at(5)]);
    expect(orphanedSince({}, { process: processEvidence("dead") }), "its strays hold the pipe").toBeUndefined();
    expect(orphanedSince({ state: "reserved", startedAt: undefined }, {})).toBeUndefined();
    expect(orphanedSince({}, { supervisor: "unknown" })).toBeUndefined();
  });

  test("a command in the foreground is nobody's to adopt: it goes on without its supervisor, and its death is a death", () => {
    const judge = new HandDrivenJudge();
    const foreground = runFacts({ foreground: true, ...longCeiling });
    for (const second of [100, 130, 4000])
      expect(judge.tick(foreground, evidenceOf({ supervisor: "dead" }), at(second)).kind).toBe("leave_alone");
    const dead = evidenceOf({ process: processEvidence("dead"), lifePipe: "unknown", supervisor: "dead" });
    expect([4001, 4002].map((second) => judge.tick(foreground, dead, at(second)).kind)).toEqual(["suspect", "dead"]);
  });

  test("an adoption ends the wait, and a later orphaning begins a new one", () => {
    const judge = new HandDrivenJudge();
    judge.tick(runFacts(), evidenceOf({ supervisor: "dead" }), at(100));
    judge.tick(runFacts(), evidenceOf(), at(120));
    expect(judge.tick(runFacts(), evidenceOf({ supervisor: "dead" }), at(140))).toMatchObject({ kind: "orphaned_adopt", waitedMs: 0 });
  });

  test("timeout and ceiling go on while it waits", () => {
    const orphan = evidenceOf({ supervisor: "dead" });
    expect(once(runFacts({ limits: { timeoutMs: 10_000 } }), orphan, at(70.1)).kind).toBe("timed_out");
    expect(once(runFacts({ limits: { maxRunningMs: 10_000 } }), orphan, at(10)).kind).toBe("over_age");
  });

  test("a silent supervisor is no dead one: nothing is adopted", () => {
    expect(once(runFacts(longCeiling), evidenceOf({ supervisor: "unknown" }), at(4000)).kind).toBe("leave_alone");
  });

  test("a frozen watcher stops no orphan", () => {
    const judge = new HandDrivenJudge({ vantage: { ...wideAwake, mode: "frozen" } });
    judge.tick(runFacts(), evidenceOf({ supervisor: "dead" }), at(100));
    expect(judge.tick(runFacts(), evidenceOf({ supervisor: "dead" }), at(200)).kind).toBe("orphaned_adopt");
  });
});

describe("tier 1w: a silent worker elsewhere", () => {
  const elsewhere = evidenceOf({
    process: processEvidence("unknown", { unknownBecause: "foreignHost" }),
    lifePipe: "unknown",
    supervisor: "unknown",
  });

  test("a process of a foreign host is unknown, so only its session's silence of 30 s counts [B-G5]", () => {
    expect(once(runFacts(), elsewhere, at(29.999))).toEqual({ kind: "leave_alone", reason: "no_limit_reached", nextCheckAt: at(30) });
    expect(once(runFacts(), elsewhere, at(30))).toEqual({
      kind: "dead",
      outcome: "unknown",
      reason: "session_silent",
      silentMs: 30_000,
      deafMs: 0,
      limitMs: 30_000,
    });
  });

  test("time in which the watcher was deaf is no silence", () => {
    const vantage = addDeaf(newVantage(), { from: at(5), to: at(65), cause: "process_down" });
    const judge = new HandDrivenJudge({ vantage: viewOf(vantage, "workers") });
    expect(judge.tick(runFacts(), elsewhere, at(89))).toMatchObject({ kind: "leave_alone", reason: "doubted" });
    expect(judge.tick(runFacts(), elsewhere, at(90))).toMatchObject({ kind: "dead", silentMs: 30_000, deafMs: 60_000 });
  });

  test("a silent session whose process lives keeps its runs", () => {
    expect(once(runFacts(longCeiling), { ...elsewhere, supervisor: "alive" }, at(4000)).kind).toBe("leave_alone");
  });

  test("in limited mode the limit doubles once, in frozen mode silence proves nothing", () => {
    const limited = new HandDrivenJudge({ vantage: { ...wideAwake, mode: "limited" } });
    expect(limited.tick(runFacts(), elsewhere, at(59)).kind).toBe("leave_alone");
    expect(limited.tick(runFacts(), elsewhere, at(60)).kind).toBe("dead");
    const frozen = new HandDrivenJudge({ vantage: { ...wideAwake, mode: "frozen" } });
    expect(frozen.tick(runFacts(), elsewhere, at(6000)).kind).toBe("leave_alone");
  });
});

test("judging changes nothing that it was given", () => {
  const run = Object.freeze(runFacts());
  const memory = Object.freeze({ deadStreak: 1, process: "4242/77" });
  expect(judgeRun(run, Object.freeze(pidAlone("dead")), memory, defaultRunThresholds, wideAwake, at(3)).memory.deadStreak).toBe(2);
});
