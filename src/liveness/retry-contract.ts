import { defaultMaxAttempts, type Spend } from "../domain/budget.ts";
import { ageMs, type DurationMs, type Instant } from "../domain/time.ts";
import { lossDelayMs, type Random, type RetryDelay, retryDelayMs } from "./retry-delay.ts";
import { explain, type RunVerdict } from "./verdict.ts";

/**
 * How a run ended, seen from its job.
 * `released` given back without a fault of its own (drain, shutdown, pause, a start without adoption); `failed` by its exit code; `lost` worker, host or process gone, fenced,
 * killed by a signal that we did not send; `collateral` its host was killed because of another run.
 */
export type OutcomeKind =
  | "succeeded"
  | "released"
  | "never_started"
  | "failed"
  | "bad_output"
  | "gate_red"
  | "gate_unreadable"
  | "hung"
  | "timed_out"
  | "over_age"
  | "lost"
  | "collateral"
  | "cancelled";

export interface RunOutcome {
  readonly kind: OutcomeKind;
  /** For people; names the cause with its numbers, and neither the run nor its attempt: those stand beside it wherever it is told. */
  readonly reason: string;
  /** What the exit code policy asks for whatever the budget says. */
  readonly disposition?: "fail" | "hold";
  /** For `never_started`, and for `released` at a start without adoption: the death of the claimer was the cause. */
  readonly bySessionDeath?: boolean;
}

/** The budget of a visit, as it stands with the present run counted in. Times and counts come from the store. */
export interface JobBudget {
  /** Runs that counted so far, the present one included when it had started. Missing counts as 0. */
  readonly attempts?: number | undefined;
  /** Missing counts as 2. */
  readonly maxAttempts?: number | undefined;
  readonly losses?: number | undefined;
  /** Absent or `null`: a loss spends an attempt. */
  readonly maxLosses?: number | null | undefined;
  /** Consecutive ends of this job that spent nothing because its session had died, the present one not included. */
  readonly neverStartedDeaths?: number | undefined;
  readonly onExhausted: "fail" | "hold";
}

/** So often a job may be given back for nothing because its worker died, before each further time spends an attempt. */
const freeNeverStartedDeaths = 3;
/** Collateral losses without a `maxLosses`: even a blameless job does not go round for ever. */
const defaultMaxCollateralLosses = 10;

/** What a run's end spends of its job's budget. */
export function spends(outcome: RunOutcome, budget: Pick<JobBudget, "maxLosses" | "neverStartedDeaths">): Spend {
  switch (outcome.kind) {
    case "succeeded":
    case "cancelled":
      return "nothing";
    case "released":
    case "never_started":
      return outcome.bySessionDeath === true && (budget.neverStartedDeaths ?? 0) >= freeNeverStartedDeaths ? "attempt" : "nothing";
    case "lost":
      return budget.maxLosses === undefined || budget.maxLosses === null ? "attempt" : "loss";
    case "collateral":
      return "loss";
    default:
      return "attempt";
  }
}

/** What becomes of the job. `attempts` and `losses` are the counts to store. */
export interface JobChange {
  readonly to: "queued" | "failed" | "held" | "cancelled" | "done";
  /** Only of a queued job; with more than 0 it is scheduled first. */
  readonly delayMs: DurationMs;
  readonly spent: Spend;
  readonly attempts: number;
  readonly losses: number;
  /** The item is to be advanced in the same transaction. */
  readonly advance: boolean;
  /** A person is to be told: once, by the winner of the flip. */
  readonly alert: boolean;
}

export interface JobChangeInput {
  /** Whether the present run is counted in `budget.attempts`: it is from its start on. */
  readonly counted: boolean;
  readonly budget: JobBudget;
  readonly delay: RetryDelay;
  /** When this job was lost before; absent: never. */
  readonly lastLostAt?: Instant | undefined;
  readonly now: Instant;
  readonly random: Random;
}

/**
 * The retry contract: what follows for the job from any outcome but success. It never answers `done`.
 * Within the budget the job is queued again; else it fails or is held; too many losses hold it, for it kills its workers.
 */
export function changeAfter(outcome: RunOutcome, input: JobChangeInput): JobChange {
  const { budget } = input;
  const before = counts(budget);
  const spent = spends(outcome, budget);
  const attempts = attemptsAfter(before.attempts, { counted: input.counted, spent });
  const losses = before.losses + (spent === "loss" ? 1 : 0);
  const end = { spent, attempts, losses, advance: false, delayMs: 0 } as const;
  if (outcome.kind === "cancelled") return { ...end, to: "cancelled", alert: false };
  if (outcome.disposition !== undefined) return { ...end, to: outcome.disposition === "fail" ? "failed" : "held", alert: true };
  const maxLosses = budget.maxLosses ?? defaultMaxCollateralLosses;
  if (spent === "loss" && losses >= maxLosses) return { ...end, to: "held", alert: true };
  const exhausted = spent === "attempt" && attempts >= (budget.maxAttempts ?? defaultMaxAttempts);
  if (exhausted) return { ...end, to: budget.onExhausted === "hold" ? "held" : "failed", alert: true };
  return { ...end, to: "queued", alert: false, delayMs: delayAfter(outcome, input, attempts) };
}

function delayAfter(outcome: RunOutcome, input: JobChangeInput, attempts: number): DurationMs {
  const { budget, delay, random, lastLostAt } = input;
  switch (outcome.kind) {
    case "released":
      return 0;
    case "never_started": {
      const before = budget.neverStartedDeaths ?? 0;
      return before === 0 ? 0 : retryDelayMs(before, delay, random);
    }
    case "lost":
    case "collateral": {
      const sinceLastLossMs = lastLostAt === undefined ? undefined : ageMs(lastLostAt, input.now);
      // Where losses spend attempts they are not counted apart; the last one's time still tells the first from the others.
      const lossesBefore = Math.max(counts(budget).losses, lastLostAt === undefined ? 0 : Math.max(1, attempts - 1));
      return lossDelayMs({ lossesBefore, sinceLastLossMs }, delay, random);
    }
    default:
      return retryDelayMs(attempts, delay, random);
  }
}

/** A run counts from its start on: what it does not spend is given back, what it spends without a start is added. */
function attemptsAfter(attempts: number, run: { readonly counted: boolean; readonly spent: Spend }): number {
  if (run.spent === "attempt") return run.counted ? attempts : attempts + 1;
  return run.counted ? Math.max(0, attempts - 1) : attempts;
}

/** Missing counts are 0; so are counts that no store of ours writes. */
function counts(budget: JobBudget): { readonly attempts: number; readonly losses: number } {
  return { attempts: Math.max(0, budget.attempts ?? 0), losses: Math.max(0, budget.losses ?? 0) };
}

/**
 * The outcome that a verdict already tells, or `undefined` when the verdict ends nothing or the exit code has the last word
 * (`record_exit`, `take_over`, `exited_known`, and `over_age` with an exit on record: see `resolveExit`).
 */
export function outcomeOfVerdict(verdict: RunVerdict): RunOutcome | undefined {
  const reason = explain(verdict);
  switch (verdict.kind) {
    case "never_started":
      return { kind: "never_started", reason, bySessionDeath: verdict.bySessionDeath };
    case "dead":
    case "stop_then_dead":
      return { kind: "lost", reason };
    case "hung":
      return { kind: "hung", reason };
    case "timed_out":
      return { kind: "timed_out", reason };
    case "over_age":
      return verdict.exitCode === undefined ? { kind: "over_age", reason } : undefined;
    default:
      return undefined;
  }
}
