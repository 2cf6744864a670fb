import { cutText } from "../../domain/cut-text.ts";
import type { ItemId, JobId, RunId } from "../../domain/ids.ts";
import type { ClaimedWork, RunEnding, RunStart } from "../worker-backend.ts";

/** What a handler is given to do. */
export interface TaskJob<Payload = unknown> {
  readonly id: JobId;
  readonly runId: RunId;
  /** Number of this run within its job, from 1. */
  readonly attempt: number;
  readonly queue: string;
  readonly payload: Payload;
  readonly itemId: ItemId | null;
}

/** What a handler may report while it works, and how it learns that it must stop. */
export interface TaskContext {
  /**
   * Aborted when the run is lost, cancelled, timed out or hung, or when its worker stops. Made at first use: it costs a few microseconds.
   */
  readonly signal: AbortSignal;
  /** Proof of progress; needed at least once per `heartbeat.timeout` where the stage asks for it. Cheap: written with the worker's next beat. */
  readonly heartbeat: () => void;
  /** Progress for people, and a heartbeat. Any JSON value; the newest wins. */
  readonly progress: (value: unknown) => void;
  /** A line for the run's log, which keeps its newest part: see `log.maxBytes` of the stage, `logMaxBytes` of a task. */
  readonly log: (line: string) => void;
}

/** A unit of work. What it resolves to is the job's output (JSON, at most 1 MiB); what it throws is the failure's message. */
export type Handler<Payload = never, Output = unknown> = (job: TaskJob<Payload>, context: TaskContext) => Promise<Output> | Output;

/** Thrown by a handler that cannot succeed however often it is tried: the job fails at once. */
export class PermanentError extends Error {
  override readonly name: string = "PermanentError";
  /** Recognised by shape, so that two copies of the package agree. */
  readonly wakefulPermanent = true;
}

export function isPermanent(thrown: unknown): boolean {
  return thrown instanceof Error && "wakefulPermanent" in thrown && thrown.wakefulPermanent === true;
}

/** Most characters of a failure's message that are kept. */
const failureTextMax = 8_192;

/** What a handler threw, as text. User code may throw anything, even what has no text. */
export function failureText(thrown: unknown): string {
  let text: string;
  try {
    text = String(thrown instanceof Error ? (thrown.message as unknown) : thrown);
  } catch {
    // An object without a prototype, or a getter that throws.
    text = "something that has no text was thrown";
  }
  return text.length > failureTextMax ? `${cutText(text, failureTextMax)}... (${text.length} characters)` : text;
}

/** How a handler's run ended, as its worker saw it. */
export type HandlerEnd = Exclude<RunEnding, { readonly kind: "exited" } | { readonly kind: "not_started" }>;

/** Where handlers' reports go. Neither may throw: they are called from user code. */
export interface HandlerReports {
  /** `progress` as JSON. */
  beat(runId: RunId, progress: string | undefined): void;
  log(run: LoggingRun, line: string): void;
}

/** The run that logs. */
export interface LoggingRun {
  readonly runId: RunId;
  readonly queue: string;
  /** Bytes taken of its lines, counted by the log. */
  loggedBytes: number;
}

/** Most characters of a progress value as JSON; a longer one is replaced by a note of its size. */
const progressTextMax = 16_384;

/** The context and the bookkeeping of one run in one object: one more allocation per job is measurable. */
export class ActiveRun implements TaskContext, TaskJob<unknown>, LoggingRun {
  readonly claimed: ClaimedWork;
  readonly startedAt: number;
  /** Set for a run that was claimed as reserved. */
  start: RunStart | undefined;
  /** Set when the run is no longer ours to settle: its end is dropped. */
  lost = false;
  /** Set when it was asked to stop: what its end counts as when the handler throws in answer. */
  stopAs: HandlerEnd | undefined;
  /** Runs until the timeout, then until the end of the stop grace. */
  timer: NodeJS.Timeout | undefined;
  loggedBytes = 0;
  readonly #reports: HandlerReports;
  #controller: AbortController | undefined;
  #abortReason: unknown;
  #payload: unknown;

  constructor(claimed: ClaimedWork, startedAt: number, reports: HandlerReports) {
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
    // Parsed at first use, and the same object at each further one.
    if (this.#payload === undefined) this.#payload = this.claimed.payload === null ? null : (JSON.parse(this.claimed.payload) as unknown);
    return this.#payload;
  }

  // A getter, because an AbortController for every job would cost a quarter of the throughput.
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  abort(reason: Error): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  // Getters too: a handler may destructure them, and nothing is bound for those that never use them.
  get heartbeat(): () => void {
    return () => this.#reports.beat(this.claimed.runId, undefined);
  }

  get progress(): (value: unknown) => void {
    return (value) => this.#reports.beat(this.claimed.runId, progressText(value));
  }

  get log(): (line: string) => void {
    return (line) => this.#reports.log(this, line);
  }
}

function progressText(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? "null";
    return text.length > progressTextMax ? JSON.stringify(`(${text.length} characters)`) : text;
  } catch {
    // A cycle or a bigint: a report must not fail the work that it reports.
    return JSON.stringify("(not JSON)");
  }
}
