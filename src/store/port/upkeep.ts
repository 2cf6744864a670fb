import type { HostId, JobId } from "../../domain/ids.ts";
import type { JobState } from "../../domain/lifecycles/job.ts";
import type { Instant } from "../../domain/time.ts";
import type { JobRow } from "./jobs.ts";
import type { KeptForReaders } from "./old-readers.ts";

export interface QueueCounts {
  readonly queue: string;
  readonly paused: boolean;
  readonly states: Readonly<Partial<Record<JobState, number>>>;
  readonly blocked: number;
}

export interface SlotRow {
  readonly key: string;
  readonly capacity: number;
  readonly used: number;
}

export interface InvariantBreach {
  readonly rule: string;
  readonly subject: string;
  readonly found: string;
}

/** How far retention has looked through the jobs: the last that it looked at, or `over` once none is left that is old enough. */
export type PruneWalk = JobId | "over";

export interface UpkeepStore {
  /** Unfinished jobs by queue and state. Costs grow with what is unfinished, not with history. */
  counts(): Promise<readonly QueueCounts[]>;
  listJobs(options: {
    readonly states?: readonly JobState[] | undefined;
    readonly queue?: string | undefined;
    readonly before?: JobId | undefined;
    readonly limit: number;
  }): Promise<readonly JobRow[]>;
  slots(): Promise<readonly SlotRow[]>;
  /** Sets each slot's use to the runs that hold it; answers the keys that were wrong. */
  recountSlots(): Promise<readonly string[]>;
  setQueuePaused(options: {
    readonly queues: readonly string[] | "all";
    readonly paused: boolean;
    readonly actor: string;
  }): Promise<number>;
  pausedQueues(): Promise<readonly string[]>;
  /**
   * Deletes finished jobs with their runs, finished items with their visits, ended workers and old action rows, a bounded page at a time.
   * Never of anything unfinished or blocked.
   *
   * @param options.hostId - Whose items, beside those of no host and of hosts that have not been heard since then: the others' work
   * directories are not here.
   * @param options.walk - What the page before answered; absent: a new walk over the jobs begins.
   */
  prune(options: {
    readonly hostId: HostId;
    readonly finishedBefore: Instant;
    readonly limit: number;
    readonly walk?: PruneWalk | undefined;
  }): Promise<{
    readonly jobs: number;
    readonly items: readonly { readonly dir: string }[];
    readonly runs: readonly number[];
    readonly walk: PruneWalk;
    /** Another page now has work, or jobs to look at. */
    readonly more: boolean;
  }>;
  /** Every promise of the schema that can be checked by reading: for `doctor`, crash tests and support. Empty: all hold. */
  checkInvariants(): Promise<readonly InvariantBreach[]>;
  integrityCheck(): Promise<readonly string[]>;
  recordHost(host: { readonly hostId: HostId; readonly bootId: string }): Promise<{ readonly previousBootId: string | null }>;
  setting(name: string): Promise<string | undefined>;
  putSetting(name: string, value: string): Promise<void>;
  /** When a daemon of this host was last heard: it renews the session of its commands. Undefined: none is on record. */
  daemonHeardAt(hostId: HostId): Promise<Instant | undefined>;
  /** Newest instant stored anywhere that matters for the clock. */
  newestInstant(): Promise<Instant | undefined>;
  /**
   * Brings stored instants later than `to`, the right time, back to it; plans keep their distance from when they were made. Answers rows
   * changed by table. Only while no daemon uses the store: a running one remembers the wrong time.
   */
  resetClock(options: { readonly to: Instant; readonly actor: string }): Promise<Readonly<Record<string, number>>>;
  storeEpoch(): Promise<number>;
  /**
   * Counts this start and answers the counter, for the caller to write to the file beside the data. A store that is behind that file was
   * restored: its epoch is raised (decision 0002).
   */
  recordStart(fileStartSeq: number | undefined): Promise<{ readonly startSeq: number; readonly epochRaised: boolean }>;
  raiseEpoch(reason: string): Promise<number>;
  /** The store's own random id, which a copy and a restored backup of it share: `candidate` if it has none yet. */
  identify(candidate: string): Promise<string>;
  sizeBytes(): Promise<number>;
  /** Who reads an old state, and what is kept for them. Costs nothing that grows. */
  keptForReaders(): Promise<KeptForReaders>;
}
