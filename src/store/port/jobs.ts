import type { HostId, ItemId, JobId, RunId, VisitId } from "../../domain/ids.ts";
import type { JsonText } from "../../domain/json-text.ts";
import type { JobState } from "../../domain/lifecycles/job.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import type { Cancelled } from "./runs.ts";

/** A kind of work that workers claim by name: `pipeline/stage` for a stage, the task's name for a plain job. */
export interface QueueSpec {
  readonly name: string;
  /** Commands wait for a guarded start; handlers may be claimed as started. */
  readonly kind: "command" | "handler";
  /** Name and capacity of the concurrency limit its runs hold a slot of; absent: unlimited. */
  readonly slot?: { readonly key: string; readonly capacity: number } | undefined;
}

/** What every job of one enqueue call has in common, so that a batch sends only what differs. */
export interface EnqueueGroup {
  readonly queue: string;
  /** Lower goes first. Default 0. Bounds: -32768 to 32767. */
  readonly priority?: number | undefined;
  /** When the job becomes claimable. Absent: now. A delay, compared with the store's clock. */
  readonly delayMs?: DurationMs | undefined;
  /** At least 1. Default 2. */
  readonly maxAttempts?: number | undefined;
  /** Absent: a loss spends an attempt. */
  readonly maxLosses?: number | undefined;
  readonly agent?: string | undefined;
  readonly repo?: string | undefined;
  readonly jobs: readonly NewJob[];
}

export interface NewJob {
  /** Input for the work. Default `null`. */
  readonly payload?: JsonText | undefined;
  /** Caller-made id: the same id enqueued again returns the row it made the first time. */
  readonly enqueueId?: string | undefined;
}

export interface JobRow {
  readonly id: JobId;
  readonly queue: string;
  readonly state: JobState;
  readonly priority: number;
  /** While scheduled: when it becomes queued. */
  readonly runAt: Instant;
  readonly createdAt: Instant;
  readonly finishedAt: Instant | null;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly losses: number;
  readonly maxLosses: number | null;
  /** Number of runs so far; the newest run's `attempt`. */
  readonly runCount: number;
  readonly currentRunId: RunId | null;
  /** The run that is still being stopped; until it is proved stopped the job is not claimable. */
  readonly blockedBy: RunId | null;
  readonly stopBy: Instant | null;
  readonly paused: boolean;
  readonly itemId: ItemId | null;
  readonly visitId: VisitId | null;
  readonly agent: string | null;
  readonly repo: string | null;
  /** A plain job's input. Null for a stage's job: its input is the item's, with the output of the item's last passed visit as `previous`. */
  readonly payload: JsonText | null;
  readonly output: JsonText | null;
  /** Reason and run id of the last failure. */
  readonly error: string | null;
}

/** A queued or scheduled job of an unfinished item, with the stage that it waits for. */
export interface WaitingJob {
  readonly jobId: JobId;
  readonly itemId: ItemId;
  readonly pipeline: string;
  readonly stage: string;
}

export type HoldAnswer =
  | { readonly kind: "held" }
  /** It was held before: nothing was written, and no second alert goes out. */
  | { readonly kind: "already" }
  /** There is no such job, or it is not one that may be held; nothing was written. */
  | { readonly kind: "refused"; readonly why: string };

export interface JobsStore {
  /**
   * Makes queues known (idempotent; a changed slot capacity takes effect at once). Every queue must be known before it is enqueued to or claimed from.
   */
  ensureQueues(queues: readonly QueueSpec[]): Promise<void>;
  /** Inserts jobs in the current group commit. Resolves after the commit with ids in the order given. */
  enqueue(group: EnqueueGroup): Promise<readonly JobId[]>;
  get(id: JobId): Promise<JobRow | undefined>;
  /** Moves due scheduled jobs to queued. Answers how many moved and when the next is due. */
  promoteDue(limit: number): Promise<{
    readonly moved: number;
    readonly nextDueAt: Instant | undefined;
  }>;
  /**
   * Ends an unfinished job for a person, its visit as `returned` and its item as `cancelled`. A running job is final at once, its run
   * `cancelled`; it is blocked until the process is proved stopped. Undefined: it was final already.
   */
  cancel(
    id: JobId,
    options: {
      readonly actor: string;
      readonly reason: string;
      readonly stopBy: Instant;
    },
  ): Promise<Cancelled | undefined>;
  /**
   * scheduled|queued -> held, of a job of an item, with its one alert in the same transaction. Idempotent. A block stays: only the proof
   * that the run has stopped gives back its slot and leases.
   *
   * @param options.message - For people: why, and what to do. Also the job's error.
   */
  hold(id: JobId, options: { readonly actor: string; readonly reason: string; readonly message: string }): Promise<HoldAnswer>;
  /**
   * Jobs that wait for one of these stages, in the order of their items. Paused and blocked ones too. Costs grow with the unfinished items, not
   * with the jobs.
   */
  listWaiting(options: {
    readonly stages: readonly { readonly pipeline: string; readonly stage: string }[];
    readonly limit: number;
    readonly after?: ItemId | undefined;
  }): Promise<readonly WaitingJob[]>;
  /** The same of what waits for one host, whose items' files it holds. */
  listWaitingOn(options: {
    readonly hostId: HostId;
    readonly limit: number;
    readonly after?: ItemId | undefined;
  }): Promise<readonly WaitingJob[]>;
  /** Queues again, with the budget that they had, jobs that were held because this host was lost. Answers which. */
  releaseForHost(options: { readonly hostId: HostId; readonly limit: number; readonly actor: string }): Promise<readonly JobId[]>;
  /** The names of all queues there have ever been. */
  listQueues(): Promise<readonly string[]>;
  /** held -> queued with one attempt more. `force` also clears a block (for a run that cannot be stopped). */
  unhold(id: JobId, options: { readonly actor: string; readonly force: boolean }): Promise<boolean>;
  /** A finished plain job (no item) again: a new job with a fresh budget and the same payload. Undefined: no such finished plain job. */
  retry(id: JobId, options: { readonly actor: string }): Promise<JobId | undefined>;
}
