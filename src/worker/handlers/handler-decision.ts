import type { RunId } from "../../domain/ids.ts";
import { addMs, type DurationMs, type Instant, seconds } from "../../domain/time.ts";
import type { RunOutcome } from "../../liveness/retry-contract.ts";
import type { Random } from "../../liveness/retry-delay.ts";
import { defaultRunThresholds } from "../../liveness/run-thresholds.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { Pause } from "../../runtime/pause.ts";
import type { Finaliser } from "../../settling/finaliser.ts";
import { settlementOfFailure } from "../../settling/settlement.ts";
import type { LiveRun, Settlement } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { WorkerBackend } from "../backends/backend.ts";
import { type EndedRun, type HandlerEnd, plainSuccess, type SettleDecision } from "./run-end.ts";

export interface DecisionOptions {
  readonly runs: Pick<WorkerBackend["runs"], "start" | "recordExit" | "recordGatePending" | "listLive">;
  readonly registry: PipelineRegistry;
  readonly finaliser: Pick<Finaliser, "finalise">;
  readonly random: Random;
  readonly now: () => Instant;
  readonly emit: Emit;
  readonly pause: Pause;
  /** Keeps a handler's output where the finaliser, ours or that of whoever takes over, reads it. */
  readonly saveOutput: (runId: RunId, output: string) => Promise<void>;
  /** How long the process may take to be gone when its handler does not stop. */
  readonly stopWithinMs: () => DurationMs;
  /** Aborted at shutdown: runs whose gate is still awaited are left to the job-reaper, which has their exit on record. */
  readonly signal: AbortSignal;
}

/**
 * How ended handler runs are settled. A plain task that returned is settled in the same turn; a stage without a gate too, together with
 * its item's advance; a stage with a gate is recorded as exited first, and anything else is settled by the retry contract.
 */
export function createDecision(options: DecisionOptions): SettleDecision {
  const { registry } = options;
  return (ended) => {
    const { end } = ended;
    if (end.kind !== "returned") return settleFailure(options, ended, failureOf(end));
    const staged = registry.stageOfQueue(ended.queue);
    if (staged === undefined) return plainSuccess(ended, end.output);
    const { pipeline, stage } = staged;
    if (stage.gate !== undefined) return settleBehindGate(options, ended, { stage, output: end.output });
    const advance = registry.advanceFrom(pipeline, stage.name);
    if (advance === undefined) return settleFailure(options, ended, vanished(pipeline, stage.name));
    return { ...plainSuccess(ended, end.output), advance };
  };
}

interface Failure {
  readonly outcome: RunOutcome;
  /** The stable code of the reason. */
  readonly reason: string;
}

function failureOf(end: Exclude<HandlerEnd, { kind: "returned" }>): Failure {
  switch (end.kind) {
    case "threw":
      return end.permanent
        ? { outcome: { kind: "failed", reason: end.message, disposition: "fail" }, reason: "permanent_error" }
        : { outcome: { kind: "failed", reason: end.message }, reason: "handler_error" };
    case "bad_output":
      return { outcome: { kind: "bad_output", reason: `bad_output: ${end.why}` }, reason: "bad_output" };
    case "released":
      return { outcome: { kind: "released", reason: end.reason }, reason: "released" };
    case "timed_out":
      return {
        outcome: { kind: "timed_out", reason: `ran into its timeout after ${Math.round(end.afterMs / 1000)} s` },
        reason: "timeout",
      };
  }
}

const vanished = (pipeline: string, stage: string): Failure => ({
  outcome: {
    kind: "failed",
    disposition: "hold",
    reason: `stage_vanished: what follows stage ${stage} of ${pipeline} is not declared any more`,
  },
  reason: "stage_vanished",
});

/** The failure to settle while the run is ours. The store applies the retry contract with the row's own counts. */
async function settleFailure(options: DecisionOptions, ended: EndedRun, failure: Failure): Promise<Settlement | undefined> {
  const live = await ourRun(options, ended);
  if (live === undefined) return undefined;
  const { registry, random, stopWithinMs } = options;
  const now = options.now();
  const { outcome, reason } = failure;
  const evidence = { startedAt: ended.startedAt, now, reason: outcome.reason };
  const details = { reason, evidence, ...(ended.stillRunning ? { stopBy: addMs(now, stopWithinMs()) } : {}) };
  const settlement = settlementOfFailure(live, outcome, details, { registry, random, actor: "worker" });
  return ended.start === undefined ? settlement : { ...settlement, startedAt: ended.startedAt };
}

/** Recorded as exited before the gate is read, so that whoever takes over neither repeats the work nor loses its output. */
async function settleBehindGate(
  options: DecisionOptions,
  ended: EndedRun,
  returned: { readonly stage: StageDefinition; readonly output: string | undefined },
): Promise<Settlement | undefined> {
  const { runs, finaliser, emit, now, pause, signal } = options;
  const { runId, ownerEpoch, jobId, queue } = ended;
  if (returned.output !== undefined) await options.saveOutput(runId, returned.output);
  if (ended.start !== undefined) await runs.start([ended.start]);
  // Where nothing is declared the daemon knows the grace that is set now, and brings the check forward.
  const graceMs = returned.stage.finalizeGraceMs ?? defaultRunThresholds.finalizeGraceMs;
  const answer = await runs.recordExit({ runId, ownerEpoch, exitCode: 0, checkAt: addMs(now(), graceMs) });
  if (answer.kind !== "ok" && answer.kind !== "already") return undefined;
  if (answer.kind === "ok") emit("run.exited", { runId, jobId, queue, exitCode: 0, source: "handler" });
  for (;;) {
    const live = await ourRun(options, ended);
    if (live?.state !== "exited") return undefined;
    const evidence = { startedAt: ended.startedAt, returned: true };
    const result = await finaliser.finalise(live, { actor: "worker", signal, evidence });
    // Stopped over it: the gate was not read, and nothing follows from that. Whoever comes next reads it.
    if (signal.aborted) return undefined;
    if (result.kind === "settle") return result.settlement;
    await runs.recordGatePending({ runId, ownerEpoch, checkAt: addMs(result.readAgainAt, seconds(60)) });
    emit("run.deferred", { runId, jobId, queue, reason: result.why });
    await pause(Math.max(0, result.readAgainAt - now()), signal);
    if (signal.aborted) return undefined;
  }
}

async function ourRun({ runs }: DecisionOptions, { runId, ownerEpoch }: EndedRun): Promise<LiveRun | undefined> {
  const [live] = await runs.listLive([runId]);
  return live?.ownerEpoch === ownerEpoch ? live : undefined;
}
