import type { Spend } from "../../domain/budget.ts";
import { WakefulError } from "../../domain/errors.ts";
import { firstOwnerEpoch, type ItemId, type JobId, type OwnerEpoch, type RunId, type VisitId, type WorkerId } from "../../domain/ids.ts";
import { jobLifecycle } from "../../domain/lifecycles/job.ts";
import { isFinal } from "../../domain/lifecycles/lifecycle.ts";
import type { RunOutcome, RunState } from "../../domain/lifecycles/run.ts";
import { runTaskName } from "../../domain/run-task.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import { changeAfter, type JobChange, recordedOutcome } from "../../liveness/retry-contract.ts";
import { type Random, spreadDelayMs } from "../../liveness/retry-delay.ts";
import type { JobAlert } from "../jobs/job-alert.ts";
import type { Failure, FencedAnswer, ItemStep, LossProgress, LostEnd, NotSettled, Settled, Settlement, Success } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";

/** A run and its job as they stand inside the settling transaction: all that the rules of settling look at. */
export interface SettleFacts {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly attempt: number;
  readonly state: RunState;
  readonly ownerEpoch: OwnerEpoch;
  readonly workerId: WorkerId | null;
  readonly slotKey: string | null;
  readonly outcome: RunOutcome | null;
  readonly reason: string | null;
  readonly exitCode: number | null;
  readonly currentRunId: RunId | null;
  readonly currentEpoch: OwnerEpoch | null;
  /** The job's copy of its visit's count: whoever ends a run locks the job's row and not the visit's. */
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly losses: number;
  readonly maxLosses: number | null;
  readonly lastLossAt: Instant | null;
  /** Ends of the job by the death of their session, since the last run that ended otherwise. Releases and lost claims do not matter. */
  readonly sessionDeaths: number;
  readonly itemId: ItemId | null;
  readonly visitId: VisitId | null;
  readonly queue: string;
  readonly agent: string | null;
  readonly repo: string | null;
}

/** Every value that the end of a run writes, decided. Engines only differ in how they write it. */
export interface RunEnd {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly visitId: VisitId | null;
  readonly itemId: ItemId | null;
  readonly outcome: RunOutcome;
  readonly reason: string;
  readonly message: string | null;
  readonly evidence: string | null;
  /** Null leaves what is on record: an exit code is never invented. */
  readonly exitCode: number | null;
  /** Null leaves what is on record. */
  readonly startedAt: Instant | null;
  readonly spent: Spend;
  readonly bySessionDeath: boolean;
  readonly jobState: JobChange["to"];
  /** When the job may be claimed again; null for a job that may not. */
  readonly runAt: Instant | null;
  readonly finishedAt: Instant | null;
  readonly attempts: number;
  readonly losses: number;
  readonly lastLossAt: Instant | null;
  /** Null leaves what is on record. */
  readonly error: string | null;
  readonly output: string | null;
  /** Set: the job is not claimable and the slot stays taken until the run's process is proved stopped. */
  readonly stopBy: Instant | null;
  readonly releasedSlot: string | null;
  /** Null: the run row is the record, nothing needs explaining. */
  readonly actor: string | null;
  readonly alert: JobAlert | null;
}

export type SettlePlan = { readonly kind: "end"; readonly end: RunEnd } | Exclude<FencedAnswer, { readonly kind: "ok" }>;

/**
 * Whether this is one of the many: a success under the first supervisor that moves no item and says nothing of its own but an output.
 * Those are written by the batch, which cannot see into each.
 */
export function isPlainSuccess(settlement: Settlement): settlement is Success {
  return (
    settlement.outcome === "succeeded" &&
    settlement.ownerEpoch === firstOwnerEpoch &&
    settlement.advance === undefined &&
    settlement.evidence === undefined &&
    settlement.exitCode === undefined &&
    settlement.stopBy === undefined &&
    settlement.actor === undefined
  );
}

/** The fence and the budget, in one place for both engines. Pure; `facts` undefined: there is no such run. */
export function planSettlement(settlement: Settlement, facts: SettleFacts | undefined, now: Instant): SettlePlan {
  if (facts === undefined) return { kind: "gone" };
  // A run has an outcome only once it has ended.
  if (facts.ownerEpoch === settlement.ownerEpoch && facts.outcome === recordedOutcome[settlement.outcome]) return { kind: "already" };
  const why = fenceBreach(settlement, facts);
  if (why !== undefined) return lostTo(facts, why);
  return { kind: "end", end: planEnd(settlement, facts, now) };
}

/** Why this writer may not write to this run any more; undefined: it may. */
function fenceBreach(settlement: Settlement, facts: SettleFacts): string | undefined {
  if (facts.state === "ended")
    return `attempt ${facts.attempt} has ended as ${facts.outcome ?? "unknown"} (${facts.reason ?? "no reason"})`;
  if (facts.ownerEpoch !== settlement.ownerEpoch) return takenOver(facts.ownerEpoch, settlement.ownerEpoch);
  if (facts.jobId !== settlement.jobId) return `the run is one of job ${facts.jobId}, not of job ${settlement.jobId}`;
  if (facts.currentRunId !== facts.runId || facts.currentEpoch !== facts.ownerEpoch) return "its job has moved on to another attempt";
  return undefined;
}

/** The text of a fence that another supervisor has raised. */
export function takenOver(now: OwnerEpoch, held: OwnerEpoch): string {
  return `another supervisor took the run over (owner epoch ${now}, not ${held})`;
}

export function lostTo(
  facts: Pick<SettleFacts, "ownerEpoch" | "state" | "workerId">,
  why: string,
): Extract<FencedAnswer, { kind: "lost" }> {
  return { kind: "lost", why, now: { ownerEpoch: facts.ownerEpoch, state: facts.state, workerId: facts.workerId } };
}

function planEnd(settlement: Settlement, facts: SettleFacts, now: Instant): RunEnd {
  const { outcome, reason } = settlement;
  if (outcome === "succeeded") refuseBadExit(settlement, facts);
  const change = changeOf(settlement, facts, now);
  const message = outcome === "succeeded" ? null : settlement.message;
  return {
    runId: facts.runId,
    jobId: facts.jobId,
    visitId: facts.visitId,
    itemId: facts.itemId,
    outcome: recordedOutcome[outcome],
    reason,
    message,
    evidence: settlement.evidence ?? null,
    exitCode: settlement.exitCode ?? null,
    startedAt: settlement.startedAt ?? null,
    spent: change.spent,
    bySessionDeath: (outcome === "never_started" || outcome === "released") && settlement.bySessionDeath === true,
    jobState: change.to,
    runAt: change.runAt,
    finishedAt: isFinal(jobLifecycle, change.to) ? now : null,
    attempts: change.attempts,
    losses: change.losses,
    lastLossAt: change.lastLossAt,
    error: message === null ? null : errorText(message, facts.runId),
    output: outcome === "succeeded" ? (settlement.output ?? null) : null,
    stopBy: settlement.stopBy ?? null,
    releasedSlot: settlement.stopBy === undefined ? facts.slotKey : null,
    actor: settlement.actor ?? (outcome === "succeeded" ? null : "worker"),
    alert: alertOf(change, facts, { reason, message }),
  };
}

/** An exit code is never invented, and none that is given or on record is overlooked. */
function refuseBadExit({ exitCode }: Success, facts: SettleFacts): void {
  const bad = [exitCode ?? null, facts.exitCode].find((code) => code !== null && code !== 0);
  if (bad === undefined) return;
  throw new WakefulError("bad_request", `Run ${facts.runId} ended with exit code ${bad}: its job cannot be done.`);
}

/** Success needs no delay, and so no chance. */
const noRetry = { jitter: 0 } as const;

/** The retry contract, applied to the counts of the row. */
function changeOf(settlement: Settlement, facts: SettleFacts, now: Instant): JobChange {
  const job = {
    budget: facts,
    counted: facts.state !== "reserved",
    sessionDeaths: facts.sessionDeaths,
    ofItem: facts.itemId !== null,
    foreground: facts.queue === runTaskName,
  };
  if (settlement.outcome === "succeeded") return changeAfter({ kind: "succeeded" }, job, noRetry, now);
  const { outcome: kind, disposition, bySessionDeath, retry } = settlement;
  return changeAfter({ kind, disposition, bySessionDeath }, job, retry, now);
}

/** Names the run, because a job's error outlives it. Only an ending of our own counts: the text may speak of any number. */
function errorText(text: string, runId: RunId): string {
  const named = `(run ${runId})`;
  return text.endsWith(named) ? text : `${text} ${named}`;
}

function alertOf(
  { alert, to: state }: JobChange,
  { jobId, runId, queue, itemId, agent, repo }: SettleFacts,
  why: { readonly reason: string; readonly message: string | null },
): JobAlert | null {
  // Stryker disable next-line ConditionalExpression: the contract alerts for these two alone, which the types do not say
  if (!alert || (state !== "failed" && state !== "held")) return null;
  return { jobId, runId, state, queue, itemId, agent, repo, ...why };
}

/** What was tried, kept as evidence of a late result. Outputs and payloads stay out of it. */
export function lateResult(settlement: Settlement, why: string): string {
  const { ownerEpoch, outcome, reason, exitCode } = settlement;
  const message = outcome === "succeeded" ? undefined : settlement.message;
  return JSON.stringify({ ownerEpoch, outcome: recordedOutcome[outcome], reason, message, exitCode, why });
}

export function settledAs({ outcome, jobState }: RunEnd, item?: ItemStep): Settled {
  return { kind: "ok", outcome, jobState, item };
}

export const notSettled = (error: unknown): NotSettled => ({ kind: "failed", error });

/** A settlement that contradicts itself fails alone: planning throws before anything is written. */
export function planApart(...planned: Parameters<typeof planSettlement>): SettlePlan | NotSettled {
  try {
    return planSettlement(...planned);
  } catch (thrown) {
    return notSettled(thrown);
  }
}

/** What the runs of one page have in common. */
export interface LossEvent {
  readonly now: Instant;
  readonly reason: string;
  readonly actor: string;
  readonly random: Random;
  readonly recoverySpreadMs: DurationMs;
}

/**
 * The end of a plain job's run whose process died with its session.
 *
 * @param at - The run's place among all that the event ends.
 */
export function planLoss(lost: SettleFacts, at: LossProgress, { now, reason, actor, random, recoverySpreadMs }: LossEvent): RunEnd {
  const worker = lost.workerId ?? "?";
  const ended: Pick<Failure, "outcome" | "message" | "bySessionDeath"> =
    lost.state === "reserved"
      ? { outcome: "never_started", message: `worker ${worker} went before attempt ${lost.attempt} started`, bySessionDeath: true }
      : { outcome: "lost", message: `the process of worker ${worker} that ran attempt ${lost.attempt} is gone` };
  const { runId, ownerEpoch, jobId } = lost;
  const retry = { jitter: random(), spreadMs: spreadDelayMs({ ...at, recoverySpreadMs }) };
  return planEnd({ runId, ownerEpoch, jobId, ...ended, reason, actor, retry }, lost, now);
}

export function lostEndOf({ runId, jobId, outcome, jobState, reason, message }: RunEnd, lost: SettleFacts): LostEnd {
  const { queue, workerId, agent, repo } = lost;
  return { runId, jobId, queue, workerId, agent, repo, outcome, jobState, reason, message: message ?? reason };
}

/** Adds the hints that the end of a run gives. */
export function hintsOfEnd(end: RunEnd, hints: Set<StoreHint>): void {
  if (end.stopBy !== null) hints.add("blocked");
  else if (end.jobState === "queued" || end.releasedSlot !== null) hints.add("jobs");
  if (end.jobState === "scheduled") hints.add("scheduled");
  if (end.itemId !== null) hints.add("items");
}
