import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { at, HandDrivenJudge, processEvidence, runFacts, wideAwake } from "../../test/support/judged-run.ts";
import { asInstant } from "../domain/time.ts";
import { isAlarming, type RunEvidence, type RunFacts } from "./evidence.ts";
import { nextCheckAt } from "./run-check-time.ts";
import { judgeRun } from "./run-policy.ts";
import { defaultRunThresholds, type RunThresholds } from "./run-thresholds.ts";
import { addDeaf, type DeafCause, newVantage, type Vantage, viewOf } from "./vantage.ts";
import { checkAgainAt } from "./verdict.ts";

/** Offsets in whole seconds around the interesting limits, so that equalities occur. */
const offset = fc.integer({ min: 0, max: 4000 });
const limitMs = fc.option(
  fc.integer({ min: 1, max: 2000 }).map((seconds) => seconds * 1000),
  { nil: undefined },
);

const facts: fc.Arbitrary<RunFacts> = fc
  .record({
    state: fc.constantFrom("reserved", "started", "exited" as const),
    kind: fc.constantFrom("command", "handler" as const),
    started: offset,
    exited: fc.option(offset, { nil: undefined }),
    exitCode: fc.constantFrom(undefined, 0, 1, 137),
    progress: fc.option(offset, { nil: undefined }),
    heard: offset,
    suspendedMs: fc.option(fc.integer({ min: 0, max: 500_000 }), { nil: undefined }),
    hasFinaliseSteps: fc.boolean(),
    pending: fc.option(offset, { nil: undefined }),
    readAgain: fc.option(offset, { nil: undefined }),
    limits: fc.record({
      timeoutMs: limitMs,
      maxRunningMs: limitMs,
      heartbeatTimeoutMs: limitMs,
      finalizeGraceMs: limitMs,
      gatePatienceMs: limitMs,
    }),
  })
  .map((drawn) => {
    const since = (seconds: number | undefined) => (seconds === undefined ? undefined : at(drawn.started + seconds));
    return runFacts({
      state: drawn.state,
      kind: drawn.kind,
      reservedAt: at(drawn.started),
      startedAt: drawn.state === "reserved" ? undefined : at(drawn.started),
      exitedAt: drawn.state === "exited" ? since(drawn.exited) : undefined,
      exitCode: drawn.state === "exited" ? drawn.exitCode : undefined,
      lastProgressAt: since(drawn.progress),
      session: { heardAt: at(drawn.started + drawn.heard), channel: "throughMe" },
      suspendedMs: drawn.suspendedMs,
      hasFinaliseSteps: drawn.hasFinaliseSteps,
      gatePendingAt: drawn.state === "exited" ? since(drawn.pending) : undefined,
      gateReadAgainAt: since(drawn.readAgain),
      limits: drawn.limits,
    });
  });

const evidence: fc.Arbitrary<RunEvidence> = fc.record({
  process: fc.option(
    fc.record({
      pid: fc.constant(4242),
      role: fc.constantFrom("command", "wrapper", "host" as const),
      life: fc.constantFrom("alive", "dead", "otherBoot", "unknown" as const),
      unknownBecause: fc.constantFrom("foreignHost", "otherNamespace", "probeFailed" as const),
    }),
    { nil: undefined },
  ),
  lifePipe: fc.constantFrom("held", "released", "unknown" as const),
  exitRecord: fc.constantFrom<RunEvidence["exitRecord"]>({ kind: "none" }, { kind: "torn" }, { kind: "exit", status: 0 }, { kind: "nogo" }),
  supervisor: fc.constantFrom("alive", "dead", "unknown" as const),
  report: fc.oneof(
    offset.map((seconds) => ({ kind: "holds" as const, at: at(seconds) })),
    offset.map((seconds) => ({ kind: "doesNotHold" as const, at: at(seconds) })),
    offset.map((seconds) => ({ kind: "notNamed" as const, since: at(seconds) })),
  ),
  hostConflict: fc.boolean(),
});

const thresholds: fc.Arbitrary<RunThresholds> = fc.record({
  deadTicks: fc.integer({ min: -1, max: 4 }),
  finalizeGraceMs: fc.integer({ min: 0, max: 600 }).map((seconds) => seconds * 1000),
  startWithinMs: fc.integer({ min: 1, max: 60 }).map((seconds) => seconds * 1000),
  adoptWithinMs: fc.integer({ min: 1, max: 60 }).map((seconds) => seconds * 1000),
  deadAfterMs: fc.integer({ min: 1, max: 60 }).map((seconds) => seconds * 1000),
  pinnedHostLostMs: fc.integer({ min: 1, max: 1200 }).map((seconds) => seconds * 1000),
  recordWithinMs: fc.integer({ min: 0, max: 120_000 }),
  suspectRecheckMs: fc.integer({ min: 0, max: 1000 }),
  maxRunningMs: fc.integer({ min: 1, max: 4000 }).map((seconds) => seconds * 1000),
  reaperTimeoutSlackMs: fc.constantFrom(0, 60_000),
});

const causes = fc.constantFrom<DeafCause>("process_down", "stalled", "suspended", "store_unreachable", "slow_query", "clock_stepped");
const vantages: fc.Arbitrary<Vantage> = fc
  .record({
    intervals: fc.array(fc.record({ from: offset, seconds: fc.integer({ min: 1, max: 300 }), cause: causes }), { maxLength: 6 }),
    mode: fc.constantFrom("normal", "limited", "frozen" as const),
  })
  .map(({ intervals, mode }) => {
    const deaf = intervals.reduce(
      (v, { from, seconds, cause }) => addDeaf(v, { from: at(from), to: at(from + seconds), cause }),
      newVantage(),
    );
    return { ...deaf, scopes: { workers: { mode, since: at(0) } } };
  });

describe("runs.check_at", () => {
  test("before it, and without an alarm, every run is left alone or goes on being finalised", () => {
    fc.assert(
      fc.property(facts, evidence, thresholds, vantages, fc.double({ min: 0, max: 1, noNaN: true }), (run, seen, limits, vantage, part) => {
        const dueAt = nextCheckAt(run, limits, { provedAlive: seen.process?.life === "alive" });
        // Nothing is judged before it has happened.
        const from = Math.max(run.reservedAt, run.startedAt ?? 0, run.exitedAt ?? 0);
        const now = asInstant(Math.floor(from + (dueAt - 1 - from) * part));
        fc.pre(now >= from && now < dueAt && !isAlarming(seen));
        const { verdict } = judgeRun(run, seen, undefined, limits, viewOf(vantage, "workers"), now);
        expect(["leave_alone", "defer"]).toContain(verdict.kind);
        if (run.state !== "exited") expect(verdict.kind).toBe("leave_alone");
      }),
      { numRuns: 1000 },
    );
  });

  test("a run whose process is proved alive is not looked at again because its session may fall silent", () => {
    fc.assert(
      fc.property(facts, thresholds, (drawn, limits) => {
        const run = { ...drawn, state: "started" as const, startedAt: drawn.startedAt ?? drawn.reservedAt };
        const proved = nextCheckAt(run, limits, { provedAlive: true });
        const silentSession = { ...run, session: { ...run.session, heardAt: run.reservedAt } };
        expect(nextCheckAt(silentSession, limits, { provedAlive: true })).toBe(proved);
        expect(proved).toBeLessThanOrEqual(run.startedAt + 600_000);
        expect(nextCheckAt(run, limits)).toBeLessThanOrEqual(run.session.heardAt + limits.deadAfterMs);
      }),
    );
  });

  test("whatever is deferred is looked at again, always later than now", () => {
    fc.assert(
      fc.property(facts, evidence, thresholds, vantages, offset, (run, seen, limits, vantage, seconds) => {
        const now = at(seconds);
        const { verdict } = judgeRun(run, seen, undefined, limits, viewOf(vantage, "workers"), now);
        const again = checkAgainAt(verdict);
        if (again !== undefined) expect(again).toBeGreaterThan(now);
      }),
      { numRuns: 1000 },
    );
  });

  test("looks at the promised instants alone find what looking at every second would find", () => {
    fc.assert(
      fc.property(facts, thresholds, (run, limits) => {
        const seen = pidOf("unknown");
        const settles = (now: number) => {
          const { verdict } = judgeRun(run, seen, undefined, limits, wideAwake, asInstant(now));
          return { settled: checkAgainAt(verdict) === undefined, again: checkAgainAt(verdict) };
        };
        let seldom: number = run.reservedAt;
        for (let looks = 0; !settles(seldom).settled; looks += 1) {
          expect(looks).toBeLessThan(5000);
          seldom = settles(seldom).again ?? seldom;
        }
        if (seldom > run.reservedAt) expect(settles(seldom - 1).settled).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});

/** A process of a foreign host, or one probed here. */
const pidOf = (life: "alive" | "dead" | "unknown"): RunEvidence => ({
  process: processEvidence(life, { unknownBecause: "foreignHost" }),
  lifePipe: "unknown",
  exitRecord: { kind: "none" },
  supervisor: "unknown",
  report: { kind: "holds", at: at(0) },
  hostConflict: false,
});

describe("who lives and who dies", () => {
  test("a living run is judged dead by nothing but its own limits", () => {
    const living = fc.record({
      // Either probed alive here (its session may be as silent as it likes), or elsewhere with a session that is heard.
      place: fc.constantFrom("here", "otherNamespace", "elsewhere" as const),
      supervisor: fc.constantFrom("alive", "unknown" as const),
      exitRecord: fc.constantFrom<RunEvidence["exitRecord"]>({ kind: "none" }, { kind: "torn" }),
      hostConflict: fc.boolean(),
    });
    fc.assert(
      fc.property(facts, living, thresholds, vantages, offset, (drawn, life, limits, vantage, seconds) => {
        const now = asInstant(drawn.reservedAt + seconds * 1000);
        const heardNow = { heardAt: now, channel: "throughMe" } as const;
        const heard = life.place === "elsewhere" || life.hostConflict;
        const run: RunFacts = { ...drawn, state: "started", startedAt: drawn.reservedAt, session: heard ? heardNow : drawn.session };
        const process = {
          here: processEvidence("alive"),
          otherNamespace: processEvidence("unknown", { unknownBecause: "otherNamespace" }),
          elsewhere: processEvidence("unknown", { unknownBecause: "foreignHost" }),
        }[life.place];
        const lifePipe = life.place === "elsewhere" ? "unknown" : "held";
        const seen: RunEvidence = { ...pidOf("alive"), ...life, process, lifePipe };
        const memory = { deadStreak: 9, process: "4242/77" };
        const { verdict } = judgeRun(run, seen, memory, limits, viewOf(vantage, "workers"), now);
        expect(["leave_alone", "hung", "timed_out", "over_age"]).toContain(verdict.kind);
        const age = seconds * 1000 - (run.suspendedMs ?? 0);
        if (verdict.kind === "over_age") expect(age).toBeGreaterThanOrEqual(run.limits.maxRunningMs ?? limits.maxRunningMs);
        if (verdict.kind === "timed_out") expect(age).toBeGreaterThan(run.limits.timeoutMs ?? Number.POSITIVE_INFINITY);
        if (verdict.kind === "hung") expect(now - (run.lastProgressAt ?? run.reservedAt)).toBeGreaterThan(0);
      }),
      { numRuns: 1000 },
    );
  });

  test("a run whose process died here is dead after so many ticks as are asked for", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6 }), vantages, fc.array(fc.boolean(), { maxLength: 20 }), (deadTicks, vantage, before) => {
        const judge = new HandDrivenJudge({ thresholds: { deadTicks }, vantage: viewOf(vantage, "workers") });
        before.forEach((alive, tick) => judge.tick(runFacts(), pidOf(alive ? "alive" : "dead"), at(tick)));
        judge.tick(runFacts(), pidOf("alive"), at(20));
        const kinds: string[] = [];
        while (kinds.at(-1) !== "dead" && kinds.length < 10) kinds.push(judge.tick(runFacts(), pidOf("dead"), at(21 + kinds.length)).kind);
        expect(kinds).toHaveLength(Math.max(1, deadTicks));
      }),
    );
  });

  test("a run whose host vanished is dead within the limit, the deaf time and two renewals", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ gap: fc.integer({ min: 1, max: 40 }), deaf: fc.integer({ min: 1, max: 40 }) }), { maxLength: 6 }),
        (outages) => {
          let vantage = newVantage();
          let clock = 0;
          let deafSeconds = 0;
          for (const { gap, deaf } of outages) {
            vantage = addDeaf(vantage, { from: at(clock + gap), to: at(clock + gap + deaf), cause: "store_unreachable" });
            clock += gap + deaf;
            deafSeconds += deaf;
          }
          const judge = new HandDrivenJudge({ vantage: viewOf(vantage, "workers") });
          const bound = Math.max(30 + deafSeconds, clock + 10);
          let diedAt = -1;
          // A look has only the past to go by, so looks begin when the last outage is over.
          for (let second = clock; diedAt < 0; second += 1)
            if (judge.tick(runFacts(), pidOf("unknown"), at(second)).kind === "dead") diedAt = second;
          expect(diedAt).toBeLessThanOrEqual(bound);
          expect(diedAt).toBeGreaterThanOrEqual(30);
        },
      ),
    );
  });

  test("whatever can be observed, no run outlives its ceiling: every state has an exit", () => {
    fc.assert(
      fc.property(facts, evidence, thresholds, vantages, (drawn, seen, limits, vantage) => {
        // Time enough for the ceiling, for what was suspended, and for the patience that stands in its place.
        const now = asInstant(drawn.reservedAt + 4_000_000 + 500_000 + 4_000_000 + 2_000_000);
        const { verdict } = judgeRun(drawn, seen, undefined, limits, viewOf(vantage, "workers"), now);
        expect(checkAgainAt(verdict)).toBeUndefined();
      }),
      { numRuns: 800 },
    );
  });

  test("the default thresholds are those the documentation names", () => {
    expect(defaultRunThresholds).toEqual({
      deadTicks: 2,
      pinnedHostLostMs: 600_000,
      finalizeGraceMs: 300_000,
      startWithinMs: 30_000,
      adoptWithinMs: 30_000,
      deadAfterMs: 30_000,
      suspectRecheckMs: 250,
      maxRunningMs: 86_400_000,
      reaperTimeoutSlackMs: 60_000,
      recordWithinMs: 120_000,
    });
  });
});
