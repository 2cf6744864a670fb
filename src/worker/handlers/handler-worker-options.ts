import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { RunLimits } from "../../store/port/runs.ts";
import type { StoreTurns } from "../../store/port/turns.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { ClaimedWork, WorkerBackend } from "../worker-backend.ts";
import type { ActiveRun, Handler, HandlerReports, TaskContext, TaskJob } from "./handler-context.ts";

export interface HandlerQueue {
  readonly name: string;
  /** A plain task's function, or the one that runs a stage's. */
  readonly handler: Handler | ((run: ActiveRun & TaskJob<never>, context: TaskContext) => unknown);
  readonly limits: RunLimits;
  /** A gate decides what follows, so the output is kept where the gate's reader finds it. */
  readonly gated?: boolean | undefined;
}

/** How runs of stages with a gate end. */
export interface GatedExits {
  /** Keeps an output for us, or for who takes the run over. */
  readonly save: (runId: RunId, output: string) => Promise<void>;
  /** Reads what the run left and reports it, until something follows. Resolves when the run is over for this worker. */
  readonly report: (workerId: WorkerId, claimed: ClaimedWork) => Promise<void>;
}

export interface HandlerWorkerOptions {
  readonly backend: Pick<WorkerBackend, "claim" | "start" | "end" | "now" | "onJobs">;
  readonly queues: readonly HandlerQueue[];
  readonly limits: HandlerLimits;
  /** Absent: no queue is gated. */
  readonly exits?: GatedExits | undefined;
  readonly reports: HandlerReports;
  readonly emit: Emit;
  readonly monoNow: () => number;
  /** Unique in the store: names sessions and claims. */
  readonly newId: () => string;
  readonly stuck: StuckHandlers;
}

export interface HandlerLimits {
  /** Handlers at work at once. At least 1. */
  readonly concurrency: number;
  /** Most runs claimed and not yet settled; what a crash may repeat. At least `concurrency`. */
  readonly outstandingMax: number;
  /** How the store takes what is written: many claims and ends are asked for in parts. */
  readonly turns: StoreTurns;
  /** How often to look for jobs without a hint; at least 1 s. */
  readonly pollMs: DurationMs;
  /** How long a handler has to end after it was asked to stop. */
  readonly stopGraceMs: DurationMs;
  /** First delay before a failed write is tried again. Default 100. */
  readonly retryMs?: DurationMs | undefined;
}

/** What is done about handlers that did not stop when they were asked to. */
export interface StuckHandlers {
  /** Its slot is lost until it returns or the process ends. The worker takes no more work and has handed back what had not started. */
  readonly onStuck: (runId: RunId) => void;
  /** It has returned: its slot is free. */
  readonly onUnstuck?: ((runId: RunId) => void) | undefined;
  /** Slots lost now, over all workers of the process. Default: this worker's own. */
  readonly slotsLost?: (() => number) | undefined;
}
