import type { ItemId, JobId, RunId } from "../domain/ids.ts";
import type { Json } from "./definition.ts";

/** What a handler is asked to do: one run of a job. */
export interface HandlerJob {
  readonly jobId: JobId;
  readonly runId: RunId;
  /** Null for a plain task, which belongs to no item. */
  readonly itemId: ItemId | null;
  readonly itemKey: string | null;
  readonly pipeline: string | null;
  /** Name of the stage, or of the task. */
  readonly stage: string;
  /** Number of this run within its job, from 1. */
  readonly attempt: number;
  /** The job's input; for a later stage it holds the output of the one before as `previous`. */
  readonly input: Json;
  /** The item's work directory; null for a plain task without one. */
  readonly workDir: string | null;
  /**
   * A file whose touch proves progress like `heartbeat()`, for programs that a handler starts; so does `<stage>.heartbeat` in the work
   * directory. Null where the stage asks for no heartbeats.
   */
  readonly heartbeatFile: string | null;
}

/** A handler's connection to its worker. */
export interface HandlerContext {
  /**
   * Aborted when the run is cancelled, timed out, hung, lost to another, or its worker stops. Stop soon: after the stop grace the host is
   * killed.
   */
  readonly signal: AbortSignal;
  /** Proves progress; cheap to call often. */
  heartbeat(): void;
  /** Shows progress to people: a fraction between 0 and 1, or a text. Counts as a heartbeat. */
  progress(value: number | string): void;
  readonly log: {
    info(message: string, fields?: Readonly<Record<string, Json>>): void;
    warn(message: string, fields?: Readonly<Record<string, Json>>): void;
    error(message: string, fields?: Readonly<Record<string, Json>>): void;
  };
}

/**
 * Runs a stage inside the handler host. What it resolves to is the stage's output, the next stage's `input.previous`
 * (`undefined` counts as null; at most 1 MiB as JSON). A rejection spends an attempt.
 */
export type StageHandler = (job: HandlerJob, context: HandlerContext) => Promise<Json | undefined | void> | Json | undefined | void;
