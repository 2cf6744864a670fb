import type { Spend } from "../domain/budget.ts";
import type { RunOutcome as RecordedOutcome } from "../domain/lifecycles/run.ts";
import { addMs, ageMs, type DurationMs, type Instant } from "../domain/time.ts";
import { defaultRetryDelay, lossDelayMs, type RetryDelay, retryDelayMs } from "./retry-delay.ts";
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

export interface Outcome {
  readonly kind: OutcomeKind;
  /** For people; names the cause with its numbers, and neither the run nor its attempt: those stand beside it wherever it is told. */
  readonly reason: string;
  /** What the exit code policy asks for whatever the budget says. */
  readonly disposition?: "fail" | "hold" | undefined;
  /** For `never_started`, and for `released` at a start without adoption: the death of the claimer was the cause. */
  readonly bySessionDeath?: boolean | undefined;
}

/** How the row of a run tells its outcome. */
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

/** What a job has spent and may spend, as its row says when the flip is made. */
export interface Budget {
  /** Runs that counted so far, the present one included when it had started. */
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly losses: number;
  /** `null`: a loss spends an attempt. */
  readonly maxLosses: number | null;
  /** When the job was lost before; `null`: never. */
  readonly lastLossAt: Instant | null;
}

/** What a stage says of runs that did not succeed. */
export interface RetryPolicy {
  readonly onExhausted: "fail" | "hold";
  readonly delay: RetryDelay;
}

/** What whoever ends a run brings along for the retry contract. The counts are the row's. */
export interface RetryTerms {
  /** Absent: no stage says, as of a plain task, or of a stage that nobody declares any more. */
  readonly policy?: RetryPolicy | undefined;
  /** From 0 up to 1: how the delay varies. Drawn by the caller, so that the contract and the store need no chance of their own. */
  readonly jitter: number;
  /** Extra delay of one of many jobs that a single event requeues. */
  readonly spreadMs?: DurationMs | undefined;
}

/** The job of a run that ends, as its row says when the flip is made. */
export interface EndingJob {
  readonly budget: Budget;
  /** Whether the present run is counted in `budget.attempts`: it is from its start on. */
  readonly counted: boolean;
  /** Ends of this job by the death of their session, since the last run that ended otherwise. Releases and lost claims do not matter. */
  readonly sessionDeaths: number;
  readonly ofItem: boolean;
  /** A command of `wakeful run`: its caller sees how it ends, and nobody else may start it. */
  readonly foreground: boolean;
}

/** So often a job may be given back for nothing because its worker died, before each further time spends an attempt. */
const freeSessionDeaths = 3;
/** Collateral losses without a `maxLosses`: even a blameless job does not go round for ever. */
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
  /** When it may be claimed again; `null` where it may not. */
  readonly runAt: Instant | null;
  readonly spent: Spend;
  readonly attempts: number;
  readonly losses: number;
  readonly lastLossAt: Instant | null;
  /** A person is to be told: once, by the winner of the flip. */
  readonly alert: boolean;
}

/**
 * The retry contract: what follows for the job from the end of its run. Within the budget the job is queued again; else it fails or is held;
 * too many losses hold it, for it kills its workers.
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
  const delayMs = delayAfter(outcome, job, { attempts, terms, now }) + (terms.spreadMs ?? 0);
  return delayMs > 0 ? { ...change, to: "scheduled", runAt: addMs(now, delayMs) } : { ...change, to, runAt: now };
}

/** What becomes of an open visit that has no job: it is given another one while an attempt is left. */
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
  if (disposition !== undefined) return disposition === "fail" ? "failed" : "held";
  if (after.spent === "loss" && after.losses >= (maxLosses ?? defaultMaxCollateralLosses)) return "held";
  if (after.spent === "attempt" && isExhausted({ attempts: after.attempts, maxAttempts })) return exhaustedState(after.policy, { ofItem });
  // Another opening that has claimed it gives it back to its caller, who is there; else nobody would start it again.
  return foreground && kind !== "released" ? "cancelled" : "queued";
}

const isExhausted = ({ attempts, maxAttempts }: Pick<Budget, "attempts" | "maxAttempts">): boolean => attempts >= maxAttempts;

/** What the stage would have where nobody declares it any more is not known: an item is kept for a person rather than ended. */
function exhaustedState(policy: RetryPolicy | undefined, { ofItem }: Pick<EndingJob, "ofItem">): "failed" | "held" {
  return (policy?.onExhausted ?? (ofItem ? "hold" : "fail")) === "hold" ? "held" : "failed";
}

function delayAfter(
  { kind }: Pick<Outcome, "kind">,
  { budget, sessionDeaths }: EndingJob,
  { attempts, terms, now }: { readonly attempts: number; readonly terms: RetryTerms; readonly now: Instant },
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
      const sinceLastLossMs = lastLossAt === null ? undefined : ageMs(lastLossAt, now);
      // Where losses spend attempts they are not counted apart; the last one's time still tells the first from the others.
      const lossesBefore = Math.max(losses, lastLossAt === null ? 0 : Math.max(1, attempts - 1));
      return lossDelayMs({ lossesBefore, sinceLastLossMs }, delay, terms.jitter);
    }
    default:
      return retryDelayMs(attempts, delay, terms.jitter);
  }
}

/** A run counts from its start on: what it does not spend is given back, what it spends without a start is added. */
function attemptsAfter(attempts: number, run: { readonly counted: boolean; readonly spent: Spend }): number {
  if (run.spent === "attempt") return run.counted ? attempts : attempts + 1;
  return run.counted ? Math.max(0, attempts - 1) : attempts;
}

/**
 * The outcome that a verdict already tells, or `undefined` when the verdict ends nothing or the exit code has the last word
 * (`record_exit`, `take_over`, `exited_known`, and `over_age` with an exit on record: see `resolveExit`).
 */
export function outcomeOfVerdict(verdict: RunVerdict): Outcome | undefined {
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
