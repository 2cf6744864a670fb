import type { ItemId, JobId, RunId } from "../domain/ids.ts";
import type { ClaimedRun } from "../store/port/runs.ts";

/** What a handler is given to do. */
export interface HandlerJob<Payload = unknown> {
  readonly id: JobId;
  readonly runId: RunId;
  /** Number of this run within its job, from 1. */
  readonly attempt: number;
  readonly queue: string;
  readonly payload: Payload;
  readonly itemId: ItemId | null;
}

/** What a handler may tell while it works, and how it learns that it must stop. */
export interface HandlerContext {
  /** Aborted when the run is lost, cancelled, timed out or hung, or when its worker stops. Made at first use: it costs a few microseconds. */
  readonly signal: AbortSignal;
  /** Proof of progress; needed at least once per `heartbeat.timeout` where the stage asks for it. Cheap: written with the worker's next beat. */
  heartbeat(): void;
  /** Progress for people, and a heartbeat. Any JSON value; the newest wins. */
  progress(value: unknown): void;
  /** A line for the run's log. */
  log(line: string): void;
}

/** A unit of work. What it resolves to is the job's output (JSON, at most 1 MiB); what it throws is the failure's message. */
export type Handler<Payload = never, Output = unknown> = (job: HandlerJob<Payload>, context: HandlerContext) => Promise<Output> | Output;

/** Thrown by a handler that cannot succeed however often it is tried: the job fails at once. */
export class PermanentError extends Error {
  override readonly name: string = "PermanentError";
  /** Read by shape, so that two copies of the package agree. */
  readonly wakefulPermanent = true;
}

export function isPermanent(thrown: unknown): boolean {
  return thrown instanceof Error && "wakefulPermanent" in thrown && thrown.wakefulPermanent === true;
}

export interface RunReports {
  beat(runId: RunId, progress: string | undefined): void;
  log(runId: RunId, line: string): void;
}

/** The context and the bookkeeping of one run, in one object: an allocation more per job is measurable. */
export class ActiveRun implements HandlerContext, HandlerJob<unknown> {
  readonly claimed: ClaimedRun;
  readonly startedAt: number;
  readonly #reports: RunReports;
  #controller: AbortController | undefined;
  #abortReason: unknown;
  /** Set when the run is no longer ours to settle: its end is dropped. */
  lost = false;

  constructor(claimed: ClaimedRun, startedAt: number, reports: RunReports) {
    this.claimed = claimed;
    this.startedAt = startedAt;
    this.#reports = reports;
  }

  get id(): JobId {
    return this.claimed.jobId;
  }
  get runId(): RunId {
    return this.claimed.runId;
  }
  get attempt(): number {
    return this.claimed.attempt;
  }
  get queue(): string {
    return this.claimed.queue;
  }
  get itemId(): ItemId | null {
    return this.claimed.itemId;
  }
  get payload(): unknown {
    return this.claimed.payload === null ? null : JSON.parse(this.claimed.payload);
  }

  // A getter, because an AbortController for every job would cost a quarter of the throughput.
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#abortReason !== undefined;
  }

  abort(reason: Error): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  heartbeat(): void {
    this.#reports.beat(this.claimed.runId, undefined);
  }

  progress(value: unknown): void {
    this.#reports.beat(this.claimed.runId, JSON.stringify(value) ?? "null");
  }

  log(line: string): void {
    this.#reports.log(this.claimed.runId, line);
  }
}
