import type { JobId, RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { RunLimits } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { WorkerBackend } from "../backends/backend.ts";
import type { Handler, RunReports } from "./handler-context.ts";
import type { SettleDecision } from "./run-end.ts";

export interface HandlerQueue {
  readonly name: string;
  readonly handler: Handler;
  readonly limits: RunLimits;
}

export interface HandlerWorkerOptions {
  readonly backend: Pick<WorkerBackend, "runs" | "now" | "onJobs">;
  readonly queues: readonly HandlerQueue[];
  /** Handlers at work at once. At least 1. */
  readonly concurrency: number;
  /** Most runs claimed and not yet settled; what a crash may repeat. At least `concurrency`. */
  readonly outstandingMax: number;
  /** How often to look for jobs without a hint; at least 1 s. */
  readonly pollMs: DurationMs;
  readonly decide: SettleDecision;
  readonly reports: RunReports;
  readonly emit: Emit;
  readonly monoNow: () => number;
  /** Unique in the store. */
  readonly newClaimId: () => string;
  readonly firstCheckAt: (startedAt: number, limits: RunLimits) => number;
  /** How long a handler has to end after it was asked to stop. */
  readonly stopGraceMs: () => DurationMs;
  /** A handler has not: its slot is lost until it returns or the process ends. The worker takes no more and has handed back what had not started. */
  readonly onStuck: (runId: RunId) => void;
  /** A handler that was given up has returned after all: its slot is free. */
  readonly onUnstuck?: (runId: RunId) => void;
  /** The store has taken the end of runs of these jobs, or will never take it. */
  readonly onSettled?: ((ended: readonly { readonly jobId: JobId }[]) => void) | undefined;
  /** Slots lost to stuck handlers now, over all workers of the process. Default: this worker's own. */
  readonly slotsLost?: () => number;
  /** First delay before a failed write is tried again. Default 100. */
  readonly retryMs?: DurationMs;
}
