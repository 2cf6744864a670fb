import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { at, HandDrivenJudge, pidAlone, runFacts } from "../../test/support/judged-run.ts";
import { resolveExit } from "./exit-resolution.ts";
import {
  type Budget,
  changeAfter,
  changeWithoutJob,
  type EndingJob,
  type JobChange,
  type Outcome,
  type OutcomeKind,
  outcomeOfVerdict,
  type RetryPolicy,
  recordedOutcome,
  spends,
} from "./retry-contract.ts";
import { defaultRetryDelay, retryDelayMs, spreadDelayMs } from "./retry-delay.ts";
import { explain, type RunVerdict } from "./verdict.ts";

const defaults: Budget = { attempts: 0, maxAttempts: 2, losses: 0, maxLosses: null, lastLossAt: null };
const fails: RetryPolicy = { onExhausted: "fail", delay: defaultRetryDelay };
const holds: RetryPolicy = { onExhausted: "hold", delay: defaultRetryDelay };
const now = at(1000);

interface Given extends Partial<Omit<EndingJob, "budget">> {
  readonly policy?: RetryPolicy;
}

function after(outcome: Omit<Outcome, "reason">, budget: Partial<Budget> = {}, { policy = fails, ...job }: Given = {}): JobChange {
  const whole = { budget: { ...defaults, ...budget }, counted: true, sessionDeaths: 0, ofItem: false, foreground: false, ...job };
  return changeAfter(outcome, whole, { policy, jitter: 0.5 }, now);
}

const waitAfter = (...given: Parameters<typeof after>): number => (after(...given).runAt ?? 0) - now;

const failed = { kind: "failed" } as const;
const lost = { kind: "lost" } as const;
const never = { kind: "never_started", bySessionDeath: true } as const;

describe("the retry contract", () => {
  test("attempts below the maximum: another one [B-34]", () => {
    expect(after(failed, { attempts: 1, maxAttempts: 3 })).toMatchObject({ to: "scheduled", attempts: 1, alert: false });
  });

  test("attempts at the maximum: failed, or held where the stage says so, with an alert [B-35, A-G5]", () => {
    expect(after(failed, { attempts: 3, maxAttempts: 3 })).toMatchObject({ to: "failed", runAt: null, alert: true });
    expect(after(failed, { attempts: 4, maxAttempts: 3 }, { policy: holds })).toMatchObject({ to: "held", runAt: null, alert: true });
  });

  test("where no stage says, an item is kept for a person and a plain job fails", () => {
    const spent = { budget: { ...defaults, attempts: 2 }, counted: true, sessionDeaths: 0, foreground: false };
    const ends = [true, false].map((ofItem) => changeAfter(failed, { ...spent, ofItem }, { jitter: 0 }, now).to);
    expect(ends).toEqual(["held", "failed"]);
  });

  test("exit 1 at 1 of 2 is tried again, at 2 of 2 failed [B-37]", () => {
    expect([1, 2].map((attempts) => after(failed, { attempts }).to)).toEqual(["scheduled", "failed"]);
  });

  test("what each outcome spends", () => {
    const table: Record<OutcomeKind, string> = {
      succeeded: "attempt",
      released: "nothing",
      never_started: "nothing",
      cancelled: "nothing",
      failed: "attempt",
      bad_output: "attempt",
      gate_red: "attempt",
      gate_unreadable: "attempt",
      hung: "attempt",
      timed_out: "attempt",
      over_age: "attempt",
      lost: "loss",
      collateral: "loss",
    };
    for (const [kind, spent] of Object.entries(table)) {
      expect([kind, spends({ kind: kind as OutcomeKind }, { maxLosses: 3, sessionDeaths: 0 })]).toEqual([kind, spent]);
    }
    expect(spends(lost, { maxLosses: null, sessionDeaths: 0 })).toBe("attempt");
  });

  test("only the death of its claimer counts against a claim: a lost one, a release and a cancel stay free", () => {
    const often = { maxLosses: null, sessionDeaths: 9 };
    const free = [{ kind: "never_started" }, { kind: "released" }, { kind: "cancelled", bySessionDeath: true }] as const;
    expect(free.map((outcome) => spends(outcome, often))).toEqual(["nothing", "nothing", "nothing"]);
    expect([never, { ...never, kind: "released" } as const].map((outcome) => spends(outcome, often))).toEqual(["attempt", "attempt"]);
  });

  test("a budget ends a job only with an end that spends from it", () => {
    const killer = { attempts: 1, maxAttempts: 3, losses: 3, maxLosses: 3 };
    expect(after(failed, killer)).toMatchObject({ to: "scheduled", losses: 3 });
    expect(after(lost, { attempts: 3, maxAttempts: 3, maxLosses: 3 })).toMatchObject({ to: "queued", attempts: 2 });
    expect(after(never, { attempts: 2, maxAttempts: 2 }, { counted: false })).toMatchObject({ to: "queued", attempts: 2 });
  });

  test("a success is done and keeps its attempt, also the last one", () => {
    expect(after({ kind: "succeeded" }, { attempts: 2 })).toMatchObject({
      to: "done",
      runAt: null,
      spent: "attempt",
      attempts: 2,
      alert: false,
    });
    expect(after({ kind: "succeeded" }, {}, { counted: false })).toMatchObject({ to: "done", attempts: 1 });
  });

  test("a loss gives its attempt back, and as many as maxLosses hold the job", () => {
    const budget = { attempts: 2, maxAttempts: 2, maxLosses: 3 };
    expect(after(lost, { ...budget, losses: 1 })).toMatchObject({
      to: "scheduled",
      attempts: 1,
      losses: 2,
      spent: "loss",
      lastLossAt: now,
    });
    expect(after(lost, { ...budget, losses: 2 })).toMatchObject({ to: "held", losses: 3, alert: true });
  });

  test("a run that never started gives back what its start had counted", () => {
    expect(after(never, { attempts: 1 })).toMatchObject({ to: "queued", attempts: 0, runAt: now });
    expect(after(never, { attempts: 1 }, { counted: false })).toMatchObject({ to: "queued", attempts: 1 });
  });

  test("after three workers died before they started it, each further one spends an attempt", () => {
    const afterDeaths = (sessionDeaths: number) => after(never, { attempts: 1 }, { counted: false, sessionDeaths });
    expect([afterDeaths(2).spent, afterDeaths(3).spent]).toEqual(["nothing", "attempt"]);
    expect(afterDeaths(3)).toMatchObject({ to: "failed", attempts: 2 });
  });

  test("a collateral loss spends no attempt, yet does not go round for ever", () => {
    const collateral = { kind: "collateral" } as const;
    expect(after(collateral, { attempts: 2 })).toMatchObject({ to: "queued", attempts: 1, losses: 1 });
    expect(after(collateral, { attempts: 2, losses: 9 }).to).toBe("held");
  });

  test("cancelled ends the job; the exit code policy overrules the budget", () => {
    expect(after({ kind: "cancelled" }, { attempts: 1 })).toMatchObject({ to: "cancelled", spent: "nothing", attempts: 0 });
    expect(after({ ...failed, disposition: "fail" }, { attempts: 1, maxAttempts: 9 }).to).toBe("failed");
    expect(after({ ...failed, disposition: "hold" }, { attempts: 1, maxAttempts: 9 }).to).toBe("held");
    expect(after({ ...failed, disposition: "give_up" }, { attempts: 1, maxAttempts: 9 })).toMatchObject({ to: "failed", attempts: 1 });
  });

  test("a foreground command goes back to its caller alone, and nobody is alerted: whoever called it saw how it ended", () => {
    const ended = (outcome: Omit<Outcome, "reason">) => after(outcome, { attempts: 1 }, { foreground: true });
    expect([lost, never, { kind: "released" } as const].map((outcome) => ended(outcome).to)).toEqual(["cancelled", "cancelled", "queued"]);
    expect(ended({ ...failed, disposition: "fail" })).toMatchObject({ to: "failed", alert: false });
  });

  test("a visit without a job gets another one while an attempt is left, else its stage's end", () => {
    const spent = { attempts: 3, maxAttempts: 3 };
    expect(changeWithoutJob({ attempts: 2, maxAttempts: 3 }, "hold")).toBe("queued");
    expect([changeWithoutJob(spent, "fail"), changeWithoutJob(spent, "hold")]).toEqual(["failed", "held"]);
  });
});

describe("any history of one job", () => {
  const { cancelled: _c, succeeded: _s, ...going } = recordedOutcome;
  const run = fc.record({
    kind: fc.constantFrom(...(Object.keys(going) as (keyof typeof going)[])),
    started: fc.boolean(),
    bySessionDeath: fc.boolean(),
  });
  const budgets = fc.record({
    maxAttempts: fc.integer({ min: 1, max: 5 }),
    maxLosses: fc.option(fc.integer({ min: 1, max: 5 }), { nil: null }),
    onExhausted: fc.constantFrom("fail", "hold" as const),
  });

  /** Runs it until its budget is spent or the history ends; tells each step's change with the budget that it began with. */
  function steps(
    {
      maxAttempts,
      maxLosses,
      onExhausted,
    }: { readonly maxAttempts: number; readonly maxLosses: number | null; readonly onExhausted: "fail" | "hold" },
    history: readonly { readonly kind: OutcomeKind; readonly started: boolean; readonly bySessionDeath: boolean }[],
  ) {
    let budget: Budget = { ...defaults, maxAttempts, maxLosses };
    let sessionDeaths = 0;
    const taken: { readonly before: Budget; readonly started: boolean; readonly change: JobChange }[] = [];
    for (const { kind, started, bySessionDeath } of history) {
      const free = kind === "never_started" || kind === "released";
      const counted = { ...budget, attempts: budget.attempts + (started ? 1 : 0) };
      const job = { budget: counted, counted: started, sessionDeaths, ofItem: true, foreground: false };
      const terms = { policy: { onExhausted, delay: defaultRetryDelay }, jitter: 0.5 };
      const change = changeAfter({ kind, bySessionDeath: free && bySessionDeath }, job, terms, now);
      taken.push({ before: budget, started, change });
      if (change.to !== "queued" && change.to !== "scheduled") break;
      sessionDeaths = free ? sessionDeaths + (bySessionDeath ? 1 : 0) : 0;
      budget = { ...budget, attempts: change.attempts, losses: change.losses, lastLossAt: change.lastLossAt };
    }
    return taken;
  }

  test("attempts are the ends that spent one, losses those that spent a loss, and never more of either than the budget has", () => {
    fc.assert(
      fc.property(budgets, fc.array(run, { maxLength: 60 }), (budget, history) => {
        const taken = steps(budget, history);
        const spent = (what: string) => taken.filter(({ change }) => change.spent === what).length;
        const last = taken.at(-1)?.change;
        expect([last?.attempts ?? 0, last?.losses ?? 0]).toEqual([spent("attempt"), spent("loss")]);
        expect(spent("attempt")).toBeLessThanOrEqual(budget.maxAttempts);
        expect(spent("loss")).toBeLessThanOrEqual(budget.maxLosses ?? 10);
      }),
    );
  });

  test("what spends nothing leaves the counts as they were before the run, whether it had started or not", () => {
    fc.assert(
      fc.property(budgets, fc.array(run, { maxLength: 60 }), (budget, history) => {
        for (const { before, change } of steps(budget, history)) {
          if (change.spent === "nothing") expect([change.attempts, change.losses]).toEqual([before.attempts, before.losses]);
        }
      }),
    );
  });

  test("nothing is queued whose budget is spent: the last attempt ends it as its stage says, the last loss holds it", () => {
    fc.assert(
      fc.property(budgets, fc.array(run, { maxLength: 60 }), (budget, history) => {
        for (const { change } of steps(budget, history)) {
          const exhausted = change.spent === "attempt" && change.attempts === budget.maxAttempts;
          const killer = change.spent === "loss" && change.losses === (budget.maxLosses ?? 10);
          const goesOn = change.to === "queued" || change.to === "scheduled";
          if (killer) expect(change.to).toBe("held");
          else if (exhausted) expect(change.to).toBe(budget.onExhausted === "hold" ? "held" : "failed");
          else expect(goesOn).toBe(true);
          expect(change.alert).toBe(!goesOn);
          expect(change.runAt === null).toBe(!goesOn);
          if (goesOn) expect(change.attempts).toBeLessThan(budget.maxAttempts);
        }
      }),
    );
  });

  test("forty ends that spend something are more than any budget has", () => {
    const spending = run.filter(({ kind }) => kind !== "released" && kind !== "never_started");
    fc.assert(
      fc.property(budgets, fc.array(spending, { minLength: 40, maxLength: 40 }), (budget, history) => {
        expect(["failed", "held"]).toContain(steps(budget, history).at(-1)?.change.to);
      }),
    );
  });
});

describe("delays", () => {
  test("none after the first loss, then exponential", () => {
    const losses = { maxLosses: 9, attempts: 1, maxAttempts: 9 };
    expect(after(lost, losses)).toMatchObject({ to: "queued", runAt: now });
    expect(waitAfter(lost, { ...losses, losses: 1 })).toBe(750);
    expect(waitAfter(lost, { ...losses, losses: 3 })).toBe(3000);
    expect(waitAfter(lost, { ...losses, lastLossAt: at(950) })).toBe(750);
  });

  test("where losses spend attempts each further one waits longer too, however long ago the first was", () => {
    const waits = [1, 2, 3, 4].map((attempts) => waitAfter(lost, { attempts, maxAttempts: 9, lastLossAt: at(-9000) }));
    expect(waits).toEqual([750, 750, 1500, 3000]);
  });

  test("each failure waits longer, as its stage says", () => {
    const policy = { onExhausted: "fail", delay: { baseMs: 1000, maxMs: 100_000, factor: 3 } } as const;
    expect([1, 2, 3].map((attempts) => waitAfter(failed, { attempts, maxAttempts: 9 }, { policy }))).toEqual([750, 2250, 6750]);
  });

  test("a release comes back at once, a claim that died with its session after each further death later", () => {
    expect([0, 2].map((sessionDeaths) => waitAfter({ kind: "released" }, { attempts: 1 }, { sessionDeaths }))).toEqual([0, 0]);
    expect([0, 1, 2].map((sessionDeaths) => waitAfter(never, {}, { sessionDeaths, counted: false }))).toEqual([0, 750, 1500]);
  });

  test("the spread of an event comes on top, and makes a job wait that would go at once", () => {
    const job = { budget: defaults, counted: false, sessionDeaths: 0, ofItem: false, foreground: false };
    expect(changeAfter({ kind: "released" }, job, { jitter: 0, spreadMs: 50 }, now)).toMatchObject({ to: "scheduled", runAt: now + 50 });
  });

  test("a delay lies between half and all of the doubled base, and never above the maximum", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), fc.double({ min: 0, max: 0.999_999, noNaN: true }), (failures, jitter) => {
        const full = Math.min(300_000, 1000 * 2 ** Math.max(0, failures - 1));
        const delay = retryDelayMs(failures, defaultRetryDelay, jitter);
        expect(delay).toBeGreaterThanOrEqual(full / 2);
        expect(delay).toBeLessThanOrEqual(full);
      }),
    );
  });

  test("beyond 100 jobs of one event the requeues are spread, the first hundred go at once", () => {
    const spread = (index: number, total: number) => spreadDelayMs({ index, total, recoverySpreadMs: 10_000 });
    expect([spread(0, 300), spread(99, 100), spread(99, 300), spread(100, 300), spread(199, 300), spread(299, 300)]).toEqual([
      0, 0, 0, 50, 5000, 10_000,
    ]);
  });
});

describe("ticks by hand, from observation to change", () => {
  const settle = (judge: HandDrivenJudge, ...args: Parameters<HandDrivenJudge["tick"]>) => {
    const verdict = judge.tick(...args);
    const outcome = outcomeOfVerdict(verdict);
    return outcome === undefined ? verdict.kind : after(outcome, { attempts: 1, maxAttempts: 2 }).to;
  };

  test("a dead pid: running after the first tick, queued after the second, at once [B-22, B-24]", () => {
    const judge = new HandDrivenJudge();
    expect(settle(judge, runFacts(), pidAlone("dead"), at(1))).toBe("suspect");
    expect(settle(judge, runFacts(), pidAlone("dead"), at(2))).toBe("queued");
    expect(waitAfter(lost, { attempts: 1 })).toBe(0);
  });

  test("past the ceiling: tried again in one tick [B-28]", () => {
    const run = runFacts({ limits: { maxRunningMs: 100_000 } });
    expect(settle(new HandDrivenJudge(), run, pidAlone("alive"), at(500))).toBe("scheduled");
  });

  test("exit 0 past the grace is resolved by the gate, exit 1 by the budget [B-17, B-37]", () => {
    const exited = (exitCode: number) => runFacts({ state: "exited", exitCode, exitedAt: at(0) });
    const resolve = (exitCode: number) => {
      const verdict = new HandDrivenJudge().tick(exited(exitCode), pidAlone("dead"), at(600));
      if (verdict.kind !== "exited_known") throw new Error(verdict.kind);
      return resolveExit({
        exitCode: verdict.exitCode,
        policy: {},
        position: "pending",
        gate: { kind: "green" },
        gatePatienceMs: 0,
        now: at(600),
      });
    };
    expect(resolve(0)).toEqual({ kind: "done", advance: true, reason: "exit0_gate_green" });
    expect(resolve(1)).toMatchObject({ kind: "retry_contract", outcome: { kind: "failed", reason: "exit code 1" } });
  });

  test("a verdict that ends a run tells how; one that ends nothing, or whose exit code has the last word, tells nothing", () => {
    const limit = { silentMs: 40_000, deafMs: 0, limitMs: 30_000 };
    const age = { ageMs: 40_000, limitMs: 30_000 };
    const known = { exitCode: 0, ...age };
    const verdicts: readonly (readonly [RunVerdict, Partial<Outcome> | undefined])[] = [
      [
        { kind: "never_started", reason: "nogo", bySessionDeath: true, ageMs: 1 },
        { kind: "never_started", bySessionDeath: true },
      ],
      [
        { kind: "never_started", reason: "not_held", bySessionDeath: false, ageMs: 1 },
        { kind: "never_started", bySessionDeath: false },
      ],
      [{ kind: "dead", outcome: "unknown", reason: "session_silent", ...limit }, { kind: "lost" }],
      [{ kind: "stop_then_dead", reason: "not_adopted", waitedMs: 40_000, limitMs: 30_000 }, { kind: "lost" }],
      [{ kind: "hung", reason: "progress_stale", ...limit }, { kind: "hung" }],
      [{ kind: "timed_out", reason: "timeout", ...age }, { kind: "timed_out" }],
      [{ kind: "over_age", reason: "age_ceiling", ageMs: 1, ceilingMs: 1 }, { kind: "over_age" }],
      [{ kind: "over_age", reason: "age_ceiling", ageMs: 1, ceilingMs: 1, exitCode: 0 }, undefined],
      [{ kind: "leave_alone", reason: "no_limit_reached", nextCheckAt: now }, undefined],
      [{ kind: "suspect", reason: "dead_pid", pid: 1, streak: 1, of: 2, recheckAt: now }, undefined],
      [{ kind: "record_exit", reason: "exit_on_disk", status: 0 }, undefined],
      [{ kind: "defer", reason: "finalising", recheckAt: now, ...known }, undefined],
      [{ kind: "exited_known", reason: "finaliser_dead", ...known }, undefined],
      [{ kind: "take_over", reason: "finaliser_dead", ...known }, undefined],
      [{ kind: "orphaned_adopt", reason: "supervisor_dead", waitedMs: 1, limitMs: 2, recheckAt: now }, undefined],
    ];
    for (const [verdict, outcome] of verdicts)
      expect(outcomeOfVerdict(verdict)).toEqual(outcome && { ...outcome, reason: explain(verdict) });
  });
});
