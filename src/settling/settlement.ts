import type { RunId } from "../domain/ids.ts";
import type { RunOutcome as StoredOutcome } from "../domain/lifecycles/run.ts";
import type { Instant } from "../domain/time.ts";
import { changeAfter, type JobBudget, type RunOutcome } from "../liveness/retry-contract.ts";
import { defaultRetryDelay, type Random, type RetryDelay } from "../liveness/retry-delay.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { Advance, LiveRun, RunRow, Settlement } from "../store/port/runs.ts";
import { afterChange } from "../store/runs/settle-plan.ts";

/** What the settlement of a run's end needs besides the run itself. */
export interface SettlingContext {
  readonly registry: PipelineRegistry;
  readonly random: Random;
  readonly now: Instant;
  /** The run's stage where the settler knows it; absent: as the registry has it. */
  readonly stage?: StageDefinition | undefined;
  /** Who settles, for the action log. */
  readonly actor: string;
}

export interface EndDetails {
  /** Stable code; for a success the resolution's reason. */
  readonly reason: string;
  readonly evidence?: unknown;
  readonly exitCode?: number | undefined;
  /** Its process may still live: the job stays blocked until the stopper has proof, or until then. */
  readonly stopBy?: Instant | undefined;
  /** Extra delay of one of many jobs that a single event requeues, in milliseconds. */
  readonly spreadMs?: number | undefined;
  /** Consecutive ends of the job as never started by the death of its session. */
  readonly neverStartedDeaths?: number | undefined;
}

const storedOutcome: Record<RunOutcome["kind"], StoredOutcome> = {
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

/** The settlement of a run that did not succeed: the retry contract applied to its job's budget. */
export function settlementOfFailure(run: LiveRun, outcome: RunOutcome, details: EndDetails, context: SettlingContext): Settlement {
  const stage = context.stage ?? context.registry.stageOfQueue(run.queue)?.stage;
  const budget: JobBudget = {
    attempts: run.attempts,
    maxAttempts: run.maxAttempts,
    losses: run.losses,
    maxLosses: run.maxLosses ?? undefined,
    neverStartedDeaths: details.neverStartedDeaths,
    // What the stage would have is not known here: an item is kept for a person rather than ended.
    onExhausted: stage?.onExhausted ?? (run.itemId === null ? "fail" : "hold"),
  };
  const delay: RetryDelay =
    stage === undefined ? defaultRetryDelay : { baseMs: stage.retry.minMs, maxMs: stage.retry.maxMs, factor: stage.retry.factor };
  const change = changeAfter(outcome, {
    counted: run.state !== "reserved",
    budget,
    delay,
    lastLostAt: run.lastLossAt ?? undefined,
    now: context.now,
    random: context.random,
  });
  const then = afterChange(run.queue, change.to, { now: context.now, delayMs: change.delayMs + (details.spreadMs ?? 0) });
  return {
    ...fenceOf(run),
    outcome: storedOutcome[outcome.kind],
    reason: details.reason,
    // Without the run id, which means nothing to people; the job's own error gets it from the store.
    message: outcome.reason,
    spend: change.spent,
    ...(outcome.bySessionDeath === true ? { bySessionDeath: true } : {}),
    then,
    actor: context.actor,
    ...(details.evidence === undefined ? {} : { evidence: JSON.stringify(details.evidence) }),
    ...(details.exitCode === undefined ? {} : { exitCode: details.exitCode }),
    ...(details.stopBy === undefined ? {} : { stopBy: details.stopBy }),
  };
}

/** The settlement of a clean success: done and, where its stage is still pending, the advance in the same transaction. */
export function settlementOfSuccess(
  run: LiveRun,
  options: { readonly advance: Advance | undefined; readonly output: string | undefined; readonly details: EndDetails },
  context: Pick<SettlingContext, "actor">,
): Settlement {
  const { advance, output, details } = options;
  return {
    ...fenceOf(run),
    outcome: "succeeded",
    reason: details.reason,
    spend: "attempt",
    then: { to: "done", ...(output === undefined ? {} : { output }), ...(advance === undefined ? {} : { advance }) },
    actor: context.actor,
    ...(details.exitCode === undefined ? {} : { exitCode: details.exitCode }),
    ...(details.evidence === undefined ? {} : { evidence: JSON.stringify(details.evidence) }),
  };
}

/** How many runs directly before `runId` ended as never started by the death of whoever had claimed them; a claim that merely got lost neither counts nor breaks the row. */
export function neverStartedDeathsBefore(runs: readonly RunRow[], runId: RunId): number {
  let deaths = 0;
  for (const before of runs.filter((run) => run.id < runId).toReversed()) {
    if (before.outcome !== "never_started" && before.outcome !== "released") break;
    if (before.bySessionDeath) deaths++;
  }
  return deaths;
}

const fenceOf = (run: LiveRun): Pick<Settlement, "runId" | "ownerEpoch" | "jobId"> => ({
  runId: run.id,
  ownerEpoch: run.ownerEpoch,
  jobId: run.jobId,
});
