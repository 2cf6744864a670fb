import type { Spend } from "../domain/budget.ts";
import type { RunOutcome as RecordedOutcome } from "../domain/lifecycles/run.ts";
import { addMs, type DurationMs, type Instant } from "../domain/time.ts";
import { defaultRetryDelay, type RetryDelay, retryDelayMs } from "./retry-delay.ts";
import { explain, type RunVerdict } from "./verdict.ts";

/**
 * How a run ended, seen from its job. `released`: given back through no fault of its own; `lost`: worker, host or process gone, fenced, or
 * killed by a signal not ours; `collateral`: its host was killed because of another run.
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

export interface Outcome {
  readonly kind: OutcomeKind;
  /** For people: the cause with its numbers. Names neither run nor attempt, which stand beside it wherever it is shown. */
  readonly reason: string;
  /**
   * What follows whatever the budget says: `fail` and `hold` as the exit code policy demands; `give_up`: as if no attempt were left, because
   * the next would end the same way.
   */
  readonly disposition?: "fail" | "hold" | "give_up" | undefined;
  /** For `never_started`, and for `released` by a daemon that starts without adoption: the claimer's death was the cause. */
  readonly bySessionDeath?: boolean | undefined;
}

/** The outcome that the run's row records. */
export const recordedOutcome: Readonly<Record<OutcomeKind, RecordedOutcome>> = {
  succeeded: "succeeded",
  released: "released",
  never_started: "never_started",
  failed: "failed",
  bad_output: "failed",
  gate_red: "gate_red",
  gate_unreadable: "gate_red",
  hung: "hung",
  timed_out: "timed_out",
  over_age: "timed_out",
  lost: "lost",
  collateral: "lost",
  cancelled: "cancelled",
};

/** What a job has spent and may spend, as its row says at the flip. */
export interface Budget {
  /** Runs counted so far, including the present one once it has started. */
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly losses: number;
  /** `null`: a loss spends an attempt. */
  readonly maxLosses: number | null;
  /** When the job was lost before; `null`: never. */
  readonly lastLossAt: Instant | null;
}

/** What a stage declares for runs that did not succeed. */
export interface RetryPolicy {
  readonly onExhausted: "fail" | "hold";
  readonly delay: RetryDelay;
}

/** What the caller who ends a run passes to the retry contract. The counts are the row's. */
export interface RetryTerms {
  /** Absent: no stage declares one, as for a plain task or a removed stage. */
  readonly policy?: RetryPolicy | undefined;
  /** From 0 up to 1: varies the delay. Drawn by the caller, so that the contract and the store need no randomness. */
  readonly jitter: number;
  /** Additional delay of one of many jobs that a single event requeues. */
  readonly spreadMs?: DurationMs | undefined;
}

/** The job of an ending run, as its row says at the flip. */
export interface EndingJob {
  readonly budget: Budget;
  /** Whether `budget.attempts` includes the present run: it does from its start. */
  readonly counted: boolean;
  /** Ends of this job by the death of their session since the last other end. Releases and lost claims are ignored. */
  readonly sessionDeaths: number;
  readonly ofItem: boolean;
  /** A command of `wakeful run`: its caller sees how it ends, and nobody else may start it again. */
  readonly foreground: boolean;
}

/** Ends by a worker's death that are free, in a row; each further one spends an attempt. */
const freeSessionDeaths = 3;
/** Collateral losses without a `maxLosses`: even a blameless job must not loop for ever. */
const defaultMaxCollateralLosses = 10;

/** What a run's end spends of its job's budget. */
export function spends(
  outcome: Pick<Outcome, "kind" | "bySessionDeath">,
  { maxLosses, sessionDeaths }: { readonly maxLosses: number | null; readonly sessionDeaths: number },
): Spend {
  switch (outcome.kind) {
    case "cancelled":
      return "nothing";
    case "released":
    case "never_started":
      return outcome.bySessionDeath === true && sessionDeaths >= freeSessionDeaths ? "attempt" : "nothing";
    case "lost":
      return maxLosses === null ? "attempt" : "loss";
    case "collateral":
      return "loss";
    default:
      return "attempt";
  }
}

/** What becomes of the job, with the counts to store. */
export interface JobChange {
  readonly to: "queued" | "scheduled" | "done" | "failed" | "held" | "cancelled";
  /** When it may be claimed again; `null`: it may not. */
  readonly runAt: Instant | null;
  readonly spent: Spend;
  readonly attempts: number;
  readonly losses: number;
  readonly lastLossAt: Instant | null;
  /** A person is to be alerted, once, by the winner of the flip. */
  readonly alert: boolean;
}

/**
 * The retry contract: what follows for the job when its run ends. Within the budget it is queued again, else it fails or is held. Too many
 * losses hold it, because it may be killing its workers.
 */
export function changeAfter(outcome: Omit<Outcome, "reason">, job: EndingJob, terms: RetryTerms, now: Instant): JobChange {
  const { budget } = job;
  const spent = spends(outcome, { maxLosses: budget.maxLosses, sessionDeaths: job.sessionDeaths });
  const attempts = attemptsAfter(budget.attempts, { counted: job.counted, spent });
  const losses = budget.losses + (spent === "loss" ? 1 : 0);
  const lastLossAt = recordedOutcome[outcome.kind] === "lost" ? now : budget.lastLossAt;
  const to = stateAfter(outcome, job, { spent, attempts, losses, policy: terms.policy });
  const change = { spent, attempts, losses, lastLossAt, alert: (to === "failed" || to === "held") && !job.foreground };
  if (to !== "queued") return { ...change, to, runAt: null };
  const delayMs = delayAfter(outcome, job, { attempts, terms }) + (terms.spreadMs ?? 0);
  return delayMs > 0 ? { ...change, to: "scheduled", runAt: addMs(now, delayMs) } : { ...change, to, runAt: now };
}

/** What follows for an open visit without a job: another job while an attempt is left. */
export function changeWithoutJob(
  budget: Pick<Budget, "attempts" | "maxAttempts">,
  onExhausted: RetryPolicy["onExhausted"],
): "queued" | "failed" | "held" {
  if (!isExhausted(budget)) return "queued";
  return onExhausted === "hold" ? "held" : "failed";
}

function stateAfter(
  { kind, disposition }: Omit<Outcome, "reason">,
  { budget: { maxAttempts, maxLosses }, ofItem, foreground }: EndingJob,
  after: Pick<JobChange, "spent" | "attempts" | "losses"> & { readonly policy: RetryPolicy | undefined },
): Exclude<JobChange["to"], "scheduled"> {
  if (kind === "succeeded") return "done";
  if (kind === "cancelled") return "cancelled";
  if (disposition === "give_up") return exhaustedState(after.policy, { ofItem });
  if (disposition !== undefined) return disposition === "fail" ? "failed" : "held";
  if (after.spent === "loss" && after.losses >= (maxLosses ?? defaultMaxCollateralLosses)) return "held";
  if (after.spent === "attempt" && isExhausted({ attempts: after.attempts, maxAttempts })) return exhaustedState(after.policy, { ofItem });
  // Released by another `wakeful run` that had claimed it: its own caller still waits. Otherwise nobody would start it again.
  return foreground && kind !== "released" ? "cancelled" : "queued";
}

const isExhausted = ({ attempts, maxAttempts }: Pick<Budget, "attempts" | "maxAttempts">): boolean => attempts >= maxAttempts;

/** Without a declared stage its `onExhausted` is unknown: an item is held for a person rather than ended. */
function exhaustedState(policy: RetryPolicy | undefined, { ofItem }: Pick<EndingJob, "ofItem">): "failed" | "held" {
  return (policy?.onExhausted ?? (ofItem ? "hold" : "fail")) === "hold" ? "held" : "failed";
}

function delayAfter(
  { kind }: Pick<Outcome, "kind">,
  { budget, sessionDeaths }: EndingJob,
  { attempts, terms }: { readonly attempts: number; readonly terms: RetryTerms },
): DurationMs {
  const delay = terms.policy?.delay ?? defaultRetryDelay;
  switch (kind) {
    case "released":
      return 0;
    case "never_started":
      return sessionDeaths === 0 ? 0 : retryDelayMs(sessionDeaths, delay, terms.jitter);
    case "lost":
    case "collateral": {
      const { lastLossAt, losses } = budget;
      // Where losses spend attempts they have no count of their own; `lastLossAt` still tells the first from later ones.
      const lossesBefore = Math.max(losses, lastLossAt === null ? 0 : Math.max(1, attempts - 1));
      return lossesBefore === 0 ? 0 : retryDelayMs(lossesBefore, delay, terms.jitter);
    }
    default:
      return retryDelayMs(attempts, delay, terms.jitter);
  }
}

/** A run counts from its start: a count that it does not spend is given back, one spent without a start is added. */
function attemptsAfter(attempts: number, run: { readonly counted: boolean; readonly spent: Spend }): number {
  if (run.spent === "attempt") return run.counted ? attempts : attempts + 1;
  return run.counted ? Math.max(0, attempts - 1) : attempts;
}

/**
 * The outcome that a verdict already tells. `undefined`: it ends nothing, or the exit code decides (`record_exit`, `take_over`,
 * `exited_known`, and `over_age` with an exit on record: see `resolveExit`).
 */
export function outcomeOfVerdict(verdict: RunVerdict): Outcome | undefined {
  const reason = explain(verdict);
  switch (verdict.kind) {
    case "never_started":
      return { kind: "never_started", reason, bySessionDeath: verdict.bySessionDeath };
    case "dead":
    case "stop_then_dead":
      return { kind: "lost", reason };
    case "forgotten":
      return { kind: "collateral", reason };
    case "hung":
      return { kind: "hung", reason };
    case "timed_out":
      return { kind: "timed_out", reason };
    case "over_age":
      return verdict.exitCode === undefined ? { kind: "over_age", reason } : undefined;
    // Stryker disable next-line ConditionalExpression: past the last case the answer is undefined as well
    default:
      return undefined;
  }
}
