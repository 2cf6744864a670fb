import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { at, evidenceOf, HandDrivenJudge, pidAlone, runFacts } from "../../test/support/judged-run.ts";
import { resolveExit } from "./exit-resolution.ts";
import { changeAfter, type JobBudget, type JobChangeInput, type OutcomeKind, outcomeOfVerdict, spends } from "./retry-contract.ts";
import { defaultRetryDelay, lossDelayMs, retryDelayMs, spreadDelayMs } from "./retry-delay.ts";

const given = (budget: Partial<JobBudget>, input: Partial<JobChangeInput> = {}): JobChangeInput => ({
  counted: true,
  budget: { onExhausted: "fail", ...budget },
  delay: defaultRetryDelay,
  now: at(1000),
  random: () => 0.5,
  ...input,
});
const failed = { kind: "failed", reason: "exit code 1" } as const;
const lost = { kind: "lost", reason: "dead pid 4242" } as const;

describe("the retry contract", () => {
  test("attempts below the maximum: queued [B-34]", () => {
    expect(changeAfter(failed, given({ attempts: 1, maxAttempts: 3 }))).toMatchObject({ to: "queued", attempts: 1, alert: false });
  });

  test("attempts at the maximum: failed, or held where the stage says so, with an alert [B-35, A-G5]", () => {
    expect(changeAfter(failed, given({ attempts: 3, maxAttempts: 3 }))).toMatchObject({ to: "failed", alert: true });
    expect(changeAfter(failed, given({ attempts: 4, maxAttempts: 3, onExhausted: "hold" }))).toMatchObject({ to: "held", alert: true });
  });

  test("missing attempts count as 0, a missing maximum as 2 [B-36]", () => {
    expect(changeAfter(failed, given({}))).toMatchObject({ to: "queued", attempts: 0 });
    expect(changeAfter(failed, given({ attempts: 1 })).to).toBe("queued");
    expect(changeAfter(failed, given({ attempts: 2 })).to).toBe("failed");
  });

  test("exit 1 at 1 of 2 is queued, at 2 of 2 failed [B-37]", () => {
    const changes = [1, 2].map((attempts) => changeAfter(failed, given({ attempts, maxAttempts: 2 })).to);
    expect(changes).toEqual(["queued", "failed"]);
  });

  test("what each outcome spends", () => {
    const table: Record<OutcomeKind, string> = {
      succeeded: "nothing",
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
      expect([kind, spends({ kind: kind as OutcomeKind, reason: "" }, { maxLosses: 3 })]).toEqual([kind, spent]);
    }
    expect(spends(lost, {})).toBe("attempt");
    expect(spends(lost, { maxLosses: null })).toBe("attempt");
  });

  test("a loss gives its attempt back, and as many as maxLosses hold the job", () => {
    const budget = { attempts: 2, maxAttempts: 2, maxLosses: 3 };
    expect(changeAfter(lost, given({ ...budget, losses: 1 }))).toMatchObject({ to: "queued", attempts: 1, losses: 2, spent: "loss" });
    expect(changeAfter(lost, given({ ...budget, losses: 2 }))).toMatchObject({ to: "held", losses: 3, alert: true });
  });

  test("a run that never started gives back what its start had counted", () => {
    const never = { kind: "never_started", reason: "its worker is dead", bySessionDeath: true } as const;
    expect(changeAfter(never, given({ attempts: 1 }))).toMatchObject({ to: "queued", attempts: 0, delayMs: 0 });
    expect(changeAfter(never, given({ attempts: 1 }, { counted: false }))).toMatchObject({ to: "queued", attempts: 1 });
  });

  test("after three workers died before they started it, each further one spends an attempt", () => {
    const never = { kind: "never_started", reason: "its worker is dead", bySessionDeath: true } as const;
    const after = (neverStartedDeaths: number) => changeAfter(never, given({ attempts: 1, neverStartedDeaths }, { counted: false }));
    expect([after(2).spent, after(3).spent]).toEqual(["nothing", "attempt"]);
    expect(after(3)).toMatchObject({ to: "failed", attempts: 2 });
  });

  test("a collateral loss spends no attempt, yet does not go round for ever", () => {
    const collateral = { kind: "collateral", reason: "its host was stopped for another run" } as const;
    expect(changeAfter(collateral, given({ attempts: 2 }))).toMatchObject({ to: "queued", attempts: 1, losses: 1 });
    expect(changeAfter(collateral, given({ attempts: 2, losses: 9 })).to).toBe("held");
  });

  test("cancelled ends the job; the exit code policy overrules the budget", () => {
    expect(changeAfter({ kind: "cancelled", reason: "by hand" }, given({}))).toMatchObject({ to: "cancelled", spent: "nothing" });
    expect(changeAfter({ ...failed, disposition: "fail" }, given({ attempts: 1, maxAttempts: 9 })).to).toBe("failed");
    expect(changeAfter({ ...failed, disposition: "hold" }, given({ attempts: 1, maxAttempts: 9 })).to).toBe("held");
  });

  test("no outcome but a success ends as done, none advances, and every chain of ends is finite", () => {
    const kinds: OutcomeKind[] = [
      "failed",
      "bad_output",
      "gate_red",
      "gate_unreadable",
      "hung",
      "timed_out",
      "over_age",
      "lost",
      "collateral",
    ];
    const budgets = fc.record({
      maxAttempts: fc.integer({ min: 1, max: 5 }),
      maxLosses: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      onExhausted: fc.constantFrom("fail", "hold" as const),
    });
    fc.assert(
      fc.property(budgets, fc.array(fc.constantFrom(...kinds), { minLength: 40, maxLength: 40 }), (budget, ends) => {
        let attempts = 0;
        let losses = 0;
        for (const kind of ends) {
          attempts += 1;
          const change = changeAfter({ kind, reason: "x" }, given({ ...budget, attempts, losses }));
          expect(change.advance).toBe(false);
          if (change.to !== "queued") {
            expect(["failed", "held"]).toContain(change.to);
            return;
          }
          ({ attempts, losses } = change);
        }
        throw new Error("the budget never ran out");
      }),
    );
  });
});

describe("delays", () => {
  test("none after the first loss, then exponential; a job lost twice within a minute waits", () => {
    const losses = { maxLosses: 9, attempts: 1, maxAttempts: 9 };
    expect(changeAfter(lost, given(losses)).delayMs).toBe(0);
    expect(changeAfter(lost, given({ ...losses, losses: 1 })).delayMs).toBe(750);
    expect(changeAfter(lost, given({ ...losses, losses: 3 })).delayMs).toBe(3000);
    expect(changeAfter(lost, given(losses, { lastLostAt: at(950) })).delayMs).toBeGreaterThan(0);
    expect(lossDelayMs({ lossesBefore: 0, sinceLastLossMs: 59_999 }, defaultRetryDelay, () => 0)).toBe(500);
    expect(lossDelayMs({ lossesBefore: 0, sinceLastLossMs: 60_000 }, defaultRetryDelay, () => 0)).toBe(0);
  });

  test("a delay lies between half and all of the doubled base, and never above the maximum", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), fc.double({ min: 0, max: 0.999_999, noNaN: true }), (failures, random) => {
        const full = Math.min(300_000, 1000 * 2 ** Math.max(0, failures - 1));
        const delay = retryDelayMs(failures, defaultRetryDelay, () => random);
        expect(delay).toBeGreaterThanOrEqual(full / 2);
        expect(delay).toBeLessThanOrEqual(full);
      }),
    );
  });

  test("beyond 100 jobs of one event the requeues are spread, the first hundred go at once", () => {
    const spread = (index: number, total: number) => spreadDelayMs({ index, total, recoverySpreadMs: 10_000 });
    expect([spread(99, 100), spread(99, 300), spread(100, 300), spread(199, 300), spread(299, 300)]).toEqual([0, 0, 50, 5000, 10_000]);
  });
});

describe("ticks by hand, from observation to change", () => {
  const settle = (judge: HandDrivenJudge, ...args: Parameters<HandDrivenJudge["tick"]>) => {
    const verdict = judge.tick(...args);
    const outcome = outcomeOfVerdict(verdict);
    return outcome === undefined ? verdict.kind : changeAfter(outcome, given({ attempts: 1, maxAttempts: 2 })).to;
  };

  test("a dead pid: running after the first tick, queued after the second, at once [B-22, B-24]", () => {
    const judge = new HandDrivenJudge();
    expect(settle(judge, runFacts(), pidAlone("dead"), at(1))).toBe("suspect");
    expect(settle(judge, runFacts(), pidAlone("dead"), at(2))).toBe("queued");
    expect(changeAfter(lost, given({ attempts: 1 })).delayMs).toBe(0);
  });

  test("past the ceiling: queued in one tick [B-28]", () => {
    const run = runFacts({ limits: { maxRunningMs: 100_000 } });
    expect(settle(new HandDrivenJudge(), run, pidAlone("alive"), at(500))).toBe("queued");
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

  test("verdicts that end nothing tell no outcome", () => {
    const verdicts = [
      new HandDrivenJudge().tick(runFacts(), evidenceOf(), at(1)),
      new HandDrivenJudge().tick(runFacts(), evidenceOf({ exitRecord: { kind: "exit", status: 0 } }), at(1)),
      new HandDrivenJudge().tick(runFacts({ state: "exited", exitCode: 0, exitedAt: at(0) }), evidenceOf(), at(600)),
    ];
    expect(verdicts.map(outcomeOfVerdict)).toEqual([undefined, undefined, undefined]);
  });
});
