import type { Spend } from "../../domain/budget.ts";
import { WakefulError } from "../../domain/errors.ts";
import { firstOwnerEpoch, type ItemId, type JobId, type OwnerEpoch, type RunId, type VisitId, type WorkerId } from "../../domain/ids.ts";
import { type JobState, jobLifecycle } from "../../domain/lifecycles/job.ts";
import { isFinal } from "../../domain/lifecycles/lifecycle.ts";
import type { RunOutcome, RunState } from "../../domain/lifecycles/run.ts";
import { runTaskName } from "../../domain/run-task.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import { addMs } from "../../domain/time.ts";
import { changeAfter, type RunOutcome as EndedRun, type JobChange } from "../../liveness/retry-contract.ts";
import { defaultRetryDelay, type Random, spreadDelayMs } from "../../liveness/retry-delay.ts";
import type { JobAlert } from "../jobs/job-alert.ts";
import type { AfterRun, FencedAnswer, LossProgress, LostEnd, Settlement } from "../port/runs.ts";
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
  /** Of the job, which has its visit's: its row is locked by whoever ends the run, and a visit's is not. */
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly losses: number;
  readonly maxLosses: number | null;
  readonly lastLossAt: Instant | null;
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
  readonly jobState: Exclude<JobState, "running">;
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
export function isPlainSuccess(settlement: Settlement): boolean {
  return (
    settlement.outcome === "succeeded" &&
    settlement.ownerEpoch === firstOwnerEpoch &&
    settlement.then.to === "done" &&
    settlement.then.advance === undefined &&
    settlement.spend === "attempt" &&
    settlement.message === undefined &&
    settlement.evidence === undefined &&
    settlement.exitCode === undefined &&
    settlement.stopBy === undefined &&
    settlement.actor === undefined
  );
}

/** The fence and the budget, in one place for both engines. Pure; `facts` undefined: there is no such run. */
export function planSettlement(settlement: Settlement, facts: SettleFacts | undefined, now: Instant): SettlePlan {
  if (facts === undefined) return { kind: "gone" };
  if (facts.state === "ended" && facts.ownerEpoch === settlement.ownerEpoch && facts.outcome === settlement.outcome)
    return { kind: "already" };
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
  const { spend, then, outcome } = settlement;
  const exitCode = settlement.exitCode ?? facts.exitCode;
  if (then.to === "done" && (outcome !== "succeeded" || (exitCode !== null && exitCode !== 0))) {
    throw new WakefulError(
      "bad_request",
      `Run ${facts.runId} ended as ${outcome} with exit code ${exitCode ?? "unknown"}: its job cannot be done.`,
    );
  }
  // The attempt counts at the start. A run that the store still holds as reserved was not counted, so its start is counted here.
  const counted = facts.state !== "reserved";
  const attempts = Math.max(0, facts.attempts + (counted ? 0 : 1) - (spend === "attempt" ? 0 : 1));
  const jobState = nextJobState(settlement, attempts, facts.maxAttempts, now);
  const message = settlement.message ?? null;
  return {
    runId: facts.runId,
    jobId: facts.jobId,
    visitId: facts.visitId,
    itemId: facts.itemId,
    outcome,
    reason: settlement.reason,
    message,
    evidence: settlement.evidence ?? null,
    exitCode: settlement.exitCode ?? null,
    startedAt: settlement.startedAt ?? null,
    spent: spend,
    bySessionDeath: (outcome === "never_started" || outcome === "released") && settlement.bySessionDeath === true,
    jobState,
    runAt: jobState === "queued" || jobState === "scheduled" ? ((then.to === "queued" ? then.runAt : undefined) ?? now) : null,
    finishedAt: isFinal(jobLifecycle, jobState) ? now : null,
    attempts,
    losses: facts.losses + (spend === "loss" ? 1 : 0),
    lastLossAt: spend === "loss" || outcome === "lost" ? now : facts.lastLossAt,
    error: outcome === "succeeded" ? null : errorText(message ?? settlement.reason, facts.runId),
    output: then.to === "done" ? (then.output ?? null) : null,
    stopBy: settlement.stopBy ?? null,
    releasedSlot: settlement.stopBy === undefined ? facts.slotKey : null,
    actor: settlement.actor ?? (outcome === "succeeded" ? null : "worker"),
    // Whoever called `wakeful run` saw the exit code himself.
    alert: (jobState === "failed" || jobState === "held") && facts.queue !== runTaskName ? alertOf(jobState, facts, settlement) : null,
  };
}

function nextJobState(settlement: Settlement, attempts: number, maxAttempts: number, now: Instant): RunEnd["jobState"] {
  const { then } = settlement;
  if (then.to !== "queued") return then.to;
  // A retry needs an attempt that is left, whoever asks for it.
  if (settlement.spend === "attempt" && attempts >= maxAttempts) return "failed";
  return then.runAt !== undefined && then.runAt > now ? "scheduled" : "queued";
}

/** Names the run (B-38), because a job's error outlives the run that it came from. Only our own ending counts: a text may speak of any number. */
function errorText(text: string, runId: RunId): string {
  const named = `(run ${runId})`;
  return text.endsWith(named) ? text : `${text} ${named}`;
}

function alertOf(state: JobAlert["state"], facts: SettleFacts, settlement: Settlement): JobAlert {
  const { jobId, runId, queue, itemId, agent, repo } = facts;
  return { jobId, runId, state, queue, itemId, agent, repo, reason: settlement.reason, message: settlement.message ?? null };
}

/** What was tried, kept as evidence of a late result. Outputs and payloads stay out of it. */
export function lateResult(settlement: Settlement, why: string): string {
  const { ownerEpoch, outcome, reason, message, exitCode, then } = settlement;
  return JSON.stringify({ ownerEpoch, outcome, reason, message, exitCode, then: then.to, why });
}

/** A run that a dead session held, with the ends as never started by the death of a session directly before it. */
export interface LostRun extends SettleFacts {
  readonly neverStartedDeaths: number;
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
 * The end of a plain job's run whose process died with its session, by the retry contract.
 *
 * @param at - The run's place among all that the event ends.
 */
export function planLoss(lost: LostRun, at: LossProgress, event: LossEvent): RunEnd {
  const { now, random, recoverySpreadMs } = event;
  const { attempts, maxAttempts, losses, maxLosses, neverStartedDeaths } = lost;
  const started = lost.state !== "reserved";
  const outcome: EndedRun = started
    ? { kind: "lost", reason: `the process of worker ${lost.workerId ?? "?"} that ran attempt ${lost.attempt} is gone` }
    : { kind: "never_started", reason: `worker ${lost.workerId ?? "?"} went before attempt ${lost.attempt} started`, bySessionDeath: true };
  const change = changeAfter(outcome, {
    counted: started,
    // A plain job has no stage whose policy would say otherwise.
    budget: { attempts, maxAttempts, losses, maxLosses, neverStartedDeaths, onExhausted: "fail" },
    delay: defaultRetryDelay,
    lastLostAt: lost.lastLossAt ?? undefined,
    now,
    random,
  });
  const settlement: Settlement = {
    runId: lost.runId,
    ownerEpoch: lost.ownerEpoch,
    jobId: lost.jobId,
    outcome: started ? "lost" : "never_started",
    reason: event.reason,
    message: outcome.reason,
    spend: change.spent,
    bySessionDeath: !started,
    then: afterChange(lost.queue, change.to, { now, delayMs: change.delayMs + spreadDelayMs({ ...at, recoverySpreadMs }) }),
    actor: event.actor,
  };
  return planEnd(settlement, lost, now);
}

export function lostEndOf({ runId, jobId, outcome, jobState, reason, message }: RunEnd, lost: LostRun): LostEnd {
  const { queue, workerId, agent, repo } = lost;
  return { runId, jobId, queue, workerId, agent, repo, outcome, jobState, reason, message: message ?? reason };
}

/** What the retry contract's answer means for a job of `queue`. */
export function afterChange(
  queue: string,
  to: JobChange["to"],
  { now, delayMs }: { readonly now: Instant; readonly delayMs: DurationMs },
): AfterRun {
  // Whoever called `wakeful run` is gone, and nobody else would start its command.
  if (to === "queued" && queue === runTaskName) return { to: "cancelled" };
  if (to === "queued" && delayMs > 0) return { to: "queued", runAt: addMs(now, delayMs) };
  return { to: to === "done" ? "failed" : to };
}

/** Whom the end of a run may interest. */
export function hintsOfEnd(end: RunEnd, hints: Set<StoreHint>): void {
  if (end.stopBy !== null) hints.add("blocked");
  else if (end.jobState === "queued" || end.releasedSlot !== null) hints.add("jobs");
  if (end.jobState === "scheduled") hints.add("scheduled");
  if (end.itemId !== null) hints.add("items");
}
