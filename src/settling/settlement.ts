import type { Instant } from "../domain/time.ts";
import type { Outcome, RetryPolicy } from "../liveness/retry-contract.ts";
import type { Random } from "../liveness/retry-delay.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { Advance, Failure, LiveRun, Settlement, Success } from "../store/port/runs.ts";

/** What the settlement of a run's end needs besides the run itself. */
export interface SettlingContext {
  readonly registry: PipelineRegistry;
  readonly random: Random;
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
}

/** The settlement of a run that did not succeed: what its stage says of that. The store applies the retry contract to the row's counts. */
export function settlementOfFailure(
  run: LiveRun,
  { kind, reason: message, disposition, bySessionDeath }: Outcome,
  { reason, evidence, exitCode, stopBy, spreadMs }: EndDetails,
  { registry, random, stage = registry.stageOfQueue(run.queue)?.stage, actor }: SettlingContext,
): Failure {
  const end = { ...fenceOf(run), reason, evidence: textOf(evidence), exitCode, stopBy, actor };
  if (kind === "succeeded") throw new Error(`Run ${run.id} has succeeded: there is nothing to retry.`);
  // The message leaves out the run id, which means nothing to people; the store adds it to the job's error.
  return { ...end, outcome: kind, message, disposition, bySessionDeath, retry: { policy: policyOf(stage), jitter: random(), spreadMs } };
}

/** The settlement of a clean success: done and, where its stage is still pending, the advance in the same transaction. */
export function settlementOfSuccess(
  run: LiveRun,
  options: { readonly advance: Advance | undefined; readonly output: string | undefined; readonly details: EndDetails },
  { actor }: Pick<SettlingContext, "actor">,
): Success {
  const { advance, output, details } = options;
  const { reason, exitCode, evidence } = details;
  return { ...fenceOf(run), outcome: "succeeded", reason, output, advance, exitCode, evidence: textOf(evidence), actor };
}

function policyOf(stage: StageDefinition | undefined): RetryPolicy | undefined {
  if (stage === undefined) return undefined;
  const { minMs, maxMs, factor } = stage.retry;
  return { onExhausted: stage.onExhausted, delay: { baseMs: minMs, maxMs, factor } };
}

/** Nothing seen is `undefined`, as `JSON.stringify` has it and its type does not say. */
const textOf = (evidence: unknown): string | undefined => JSON.stringify(evidence);

const fenceOf = (run: LiveRun): Pick<Settlement, "runId" | "ownerEpoch" | "jobId"> => ({
  runId: run.id,
  ownerEpoch: run.ownerEpoch,
  jobId: run.jobId,
});
