import type { Spend } from "../../domain/budget.ts";
import type { HostId, ItemId, JobId, OwnerEpoch, RunId, VisitId, WorkerId } from "../../domain/ids.ts";
import type { JsonText } from "../../domain/json-text.ts";
import type { RunOutcome, RunState } from "../../domain/lifecycles/run.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import type { JobChange, OutcomeKind, RetryTerms } from "../../liveness/retry-contract.ts";

/** `null` fields: a handler run, whose process is the one that hosts it (its worker's). */
export interface StoredProcess {
  readonly hostId: HostId;
  readonly bootId: string;
  readonly pidNamespace: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, as text. */
  readonly startTime: string;
}

/** The limits a run starts with; they stay its own whatever the configuration becomes. */
export interface RunLimits {
  /** 0t; absent: no limit of its own. */
  readonly timeoutMs?: DurationMs | undefined;
  /** 0h; absent: progress is not asked for. */
  readonly heartbeatTimeoutMs?: DurationMs | undefined;
  /** 3; absent: none of its own, and the threshold in force at each look is its ceiling. */
  readonly maxRunningMs?: DurationMs | undefined;
}

/** The fence: which attempt, and which of its supervisors. */
export interface Fence {
  readonly runId: RunId;
  readonly ownerEpoch: OwnerEpoch;
}

/** Most runs of one claim. */
export const claimMax = 1000;

export interface ClaimRequest {
  /** Caller-made: the same claim id answers the same runs and takes nothing more. */
  readonly claimId: string;
  readonly workerId: WorkerId;
  /** Rises by one per claim of this worker; lets the store know which claims the worker has received. */
  readonly claimSeq: number;
  readonly queues: readonly {
    readonly name: string;
    readonly limits: RunLimits;
  }[];
  /** Most runs to take in all: 0 to {@link claimMax}. */
  readonly max: number;
  /** Of handler queues: how many are claimed as started, in order; the rest are reserved. Commands are always reserved. */
  readonly startNow: number;
}

export interface ClaimedRun {
  readonly runId: RunId;
  readonly ownerEpoch: OwnerEpoch;
  readonly jobId: JobId;
  readonly queue: string;
  /** Number of this run within its job, from 1, for people. */
  readonly attempt: number;
  readonly started: boolean;
  readonly payload: JsonText | null;
  readonly itemId: ItemId | null;
  readonly visitId: VisitId | null;
}

export interface RunRow {
  readonly id: RunId;
  readonly jobId: JobId;
  readonly attempt: number;
  readonly state: RunState;
  readonly ownerEpoch: OwnerEpoch;
  /** The supervisor's session. */
  readonly workerId: WorkerId | null;
  readonly kind: "command" | "handler";
  readonly claimSeq: number;
  readonly reservedAt: Instant;
  readonly startedAt: Instant | null;
  readonly exitedAt: Instant | null;
  readonly endedAt: Instant | null;
  /** The earliest instant at which a judge has anything to say; indexed while the run lives. */
  readonly checkAt: Instant | null;
  /** The command's own process once known, its wrapper's before; null for handler runs. */
  readonly process: StoredProcess | null;
  readonly wrapper: StoredProcess | null;
  readonly limits: RunLimits;
  readonly progressAt: Instant | null;
  readonly progress: JsonText | null;
  readonly exitCode: number | null;
  readonly gatePendingAt: Instant | null;
  readonly slotKey: string | null;
  readonly outcome: RunOutcome | null;
  readonly reason: string | null;
  readonly message: string | null;
  readonly evidence: JsonText | null;
  readonly spent: Spend | null;
  /** It never started or was given back because whoever had claimed it died. After three in a row, each further one spends an attempt. */
  readonly bySessionDeath: boolean;
  /** Awake time lost to recorded suspends of its host since the start, in milliseconds. */
  readonly suspendedMs: DurationMs;
}

/** A live run with what a judge and a settler need of its job, queue, item and supervisor; one row, no second query. */
export interface LiveRun extends RunRow {
  readonly queue: string;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly itemId: ItemId | null;
  readonly visitId: VisitId | null;
  /** The stage its item is in now, null without an item; compare with the queue's stage to see whether it is past. */
  readonly itemStage: string | null;
  readonly itemVisitId: VisitId | null;
  readonly pipeline: string | null;
  readonly pipelineVersion: string | null;
  readonly agent: string | null;
  readonly repo: string | null;
  readonly supervisor: SupervisorRow | null;
}

export interface SupervisorRow {
  readonly workerId: WorkerId;
  readonly state: "live" | "draining" | "stopped" | "dead";
  readonly process: StoredProcess;
  readonly lastHeardAt: Instant;
  /** The highest claim the worker said it has received. */
  readonly claimSeqReceived: number;
}

/** What the end of a run brings: the flip and all that follows from it in the store are one transaction. */
interface Ending extends Fence {
  readonly jobId: JobId;
  /** Stable code of the reason, such as `dead_pid` or `exit_code`. */
  readonly reason: string;
  readonly evidence?: JsonText | undefined;
  readonly exitCode?: number | undefined;
  /** Start of a run that the store still holds as reserved: its start is folded into its end. */
  readonly startedAt?: Instant | undefined;
  /** Set when its process may still live: the job is not claimable, its slot and leases stay taken, until {@link RunsStore.clearBlocks}. */
  readonly stopBy?: Instant | undefined;
  /** Which loop or worker settles; for the action log. Absent for plain successes, which need no explaining. */
  readonly actor?: string | undefined;
}

/** Its job is done. */
export interface Success extends Ending {
  readonly outcome: "succeeded";
  readonly output?: JsonText | undefined;
  readonly advance?: Advance | undefined;
}

/** What becomes of its job the retry contract says, by the counts that the row has when the flip is made. */
export interface Failure extends Ending {
  readonly outcome: Exclude<OutcomeKind, "succeeded">;
  /** The reason for people, with its numbers; also the job's error. */
  readonly message: string;
  /** What the exit code policy asks for whatever the budget says. */
  readonly disposition?: "fail" | "hold" | "give_up" | undefined;
  /** Of a run that never started or was released: the death of whoever had claimed it was the cause. */
  readonly bySessionDeath?: boolean | undefined;
  readonly retry: RetryTerms;
}

export type Settlement = Success | Failure;

/** How an item moves on when its visit passes. */
export type Advance =
  | { readonly kind: "finish" }
  | {
      readonly kind: "next";
      readonly stage: string;
      readonly queue: string;
      readonly maxAttempts: number;
      readonly maxLosses: number | null;
      readonly priority: number;
      readonly agent: string | null;
      /** The stage's own, for the jobs of items that have none. Absent: none. */
      readonly repo?: string | undefined;
      /** The newest version of the pipeline, which the item moves to as it enters the stage. */
      readonly pipelineVersion: string;
    };

/** How an item went on with the end of its job. */
export type ItemStep =
  | { readonly kind: "advanced"; readonly itemId: ItemId; readonly from: string; readonly to: string }
  /** It passed its last stage. */
  | { readonly kind: "finished"; readonly itemId: ItemId; readonly from: string }
  | { readonly kind: "failed" | "cancelled"; readonly itemId: ItemId };

/** What ended with a cancelled job or item, beside itself. */
export interface Cancelled {
  readonly run?: { readonly runId: RunId; readonly jobId: JobId; readonly queue: string } | undefined;
  readonly item?: ItemStep | undefined;
}

/** Written, and by this call: how the run's row tells its outcome, and what became of its job. */
export interface Settled {
  readonly kind: "ok";
  readonly outcome: RunOutcome;
  readonly jobState: JobChange["to"];
  /** Of a run whose item went on with its end. */
  readonly item?: ItemStep | undefined;
  /** The store refused the texts of the settlement, and took others in their place: its words of refusal. */
  readonly replaced?: string | undefined;
}

/** This settlement alone could not be written; what was asked in the same call is not affected. */
export interface NotSettled {
  readonly kind: "failed";
  readonly error: unknown;
}

export type SettleAnswer = Settled | NotSettled | Exclude<FencedAnswer, { readonly kind: "ok" }>;

export type FencedAnswer =
  /** Written, and by this call. */
  | { readonly kind: "ok" }
  /** This run ended before with the same fence and outcome; nothing was changed. */
  | { readonly kind: "already" }
  /** Another supervisor has the run, or it has ended otherwise, or its job has moved on; nothing was changed but a late-result event. */
  | {
      readonly kind: "lost";
      readonly why: string;
      readonly now: {
        readonly ownerEpoch: OwnerEpoch;
        readonly state: RunState;
        readonly workerId: WorkerId | null;
      };
    }
  | { readonly kind: "gone" };

export interface StartRun extends Fence {
  readonly startedAt: Instant;
  /** The wrapper's identity; absent for handlers. */
  readonly wrapper?: StoredProcess | undefined;
  readonly limits: RunLimits;
  readonly checkAt: Instant;
}

/** A live run with no more than it takes to say who holds it and what it is. */
export interface HeldRun extends Fence {
  readonly jobId: JobId;
  readonly workerId: WorkerId;
  readonly kind: "command" | "handler";
  readonly state: RunState;
}

/** How far the pages of one event have come: the place of the next run among all that it ends. */
export interface LossProgress {
  readonly index: number;
  readonly total: number;
}

/** A run that a page has ended, with what it takes to tell of it. */
export interface LostEnd {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
  readonly workerId: WorkerId | null;
  readonly agent: string | null;
  readonly repo: string | null;
  readonly outcome: RunOutcome;
  readonly jobState: JobChange["to"];
  readonly reason: string;
  readonly message: string;
}

/** Whose runs are read. Nothing said: everybody's. */
export interface RunScope {
  /** Runs of handlers whose job belongs to no item: a stage's run is judged by who knows its pipeline, a command's on its host. */
  readonly only?: "plain" | undefined;
  /**
   * The sessions whose renewals the reader hears. Reserved runs of any other session that is not over are left out: only who hears a session
   * knows what it does not hold.
   */
  readonly heard?: readonly WorkerId[] | undefined;
}

/** How a write behaves where somebody else holds one of its rows. */
export interface LockManners {
  /**
   * True: waits for no locked row, writes nothing then and rejects with `unavailable` (decision 0013). Default false: waits as long as
   * `lock_timeout` says, and tries several times.
   */
  readonly unlessLocked?: boolean | undefined;
}

export interface RunsStore {
  /** Takes jobs in (priority, id) order within each queue, the queues merged. One group commit with other callers. */
  claim(request: ClaimRequest): Promise<readonly ClaimedRun[]>;
  /** reserved -> started; counts the attempt on job and visit. Commands must have its answer before they let the command go. */
  start(runs: readonly StartRun[]): Promise<readonly FencedAnswer[]>;
  /** The command's own process replaces its wrapper's identity. */
  recordProcess(run: Fence & { readonly process: StoredProcess }): Promise<FencedAnswer>;
  /** started -> exited, before anything else is done with the exit. */
  recordExit(run: Fence & { readonly exitCode: number; readonly checkAt: Instant }, how?: LockManners): Promise<FencedAnswer>;
  /** A gate reading of this exit that failed; its patience counts from `pendingSince`. */
  recordGatePending(run: Fence & { readonly checkAt: Instant; readonly pendingSince: Instant }): Promise<FencedAnswer>;
  /**
   * Ends runs. Plain successes take the all-plain batch form; joins the current group commit. Answers in the order given: a
   * member that fails is one of the answers. Rejects only when nothing of the call is known to be written.
   */
  settle(settlements: readonly Settlement[], how?: LockManners): Promise<readonly SettleAnswer[]>;
  /** New supervisor, owner epoch + 1, if the epoch is the old one and the run has not ended. Answers the new epoch, or undefined. */
  takeOver(
    run: Fence & {
      readonly workerId: WorkerId;
      readonly actor: string;
      readonly reason: string;
      readonly checkAt: Instant;
    },
  ): Promise<OwnerEpoch | undefined>;
  /** Progress of runs, by the run's own token (no owner epoch: a take-over does not change it). Answers the runs that are not alive any more. */
  beat(
    beats: readonly {
      readonly runId: RunId;
      readonly at: Instant;
      readonly progress?: JsonText | undefined;
    }[],
  ): Promise<readonly RunId[]>;
  /**
   * Moves `check_at` of runs that a judge left alone. Guarded by the epoch; late ones change nothing, and rows that
   * somebody else holds are left alone. Answers the runs whose check it moved.
   */
  moveChecks(checks: readonly (Fence & { readonly checkAt: Instant })[]): Promise<readonly RunId[]>;
  /**
   * Brings forward checks that were set under longer thresholds: of reserved and exited runs, and of started ones without a ceiling or
   * timeout of their own. Moves none back: an early look does that. Answers how many.
   */
  bringChecksForward(thresholds: {
    readonly startWithinMs: DurationMs;
    readonly maxRunningMs: DurationMs;
    readonly finalizeGraceMs: DurationMs;
  }): Promise<number>;
  /**
   * Makes due the runs that a session has received (by `claimSeq`) and does not hold: reserved ones, and started ones of handlers. Only a
   * hint, so it has no fence: their judge asks again. Answers how many.
   */
  checkUnheld(session: {
    readonly workerId: WorkerId;
    readonly held: readonly RunId[];
    readonly claimSeqReceived: number;
  }): Promise<number>;
  /** Live runs due at `now`, oldest check first. */
  listDue(options: RunScope & { readonly now: Instant; readonly limit: number }): Promise<readonly LiveRun[]>;
  /** Live runs of these sessions, in (session, id) order after the cursor: what a dead process held. */
  listOfWorkers(options: {
    readonly workerIds: readonly WorkerId[];
    readonly after?: { readonly workerId: WorkerId; readonly runId: RunId } | undefined;
    readonly limit: number;
  }): Promise<readonly LiveRun[]>;
  /** The same runs without what only {@link listLive} reads. */
  listHeld(options: {
    readonly only?: RunScope["only"] | undefined;
    readonly workerIds: readonly WorkerId[];
    readonly after?: { readonly workerId: WorkerId; readonly runId: RunId } | undefined;
    readonly limit: number;
  }): Promise<readonly HeldRun[]>;
  /** Started command runs whose process is on this host: what is probed each tick. One whose exit is on record is expected to be dead. */
  listLocalProcesses(hostId: HostId): Promise<readonly { readonly runId: RunId; readonly process: StoredProcess }[]>;
  listLive(ids: readonly RunId[], of?: RunScope): Promise<readonly LiveRun[]>;
  /** A page of all live runs, by id. */
  listAllLive(
    options: RunScope & { readonly after?: RunId | undefined; readonly limit: number; readonly hostId?: HostId | undefined },
  ): Promise<readonly LiveRun[]>;
  get(id: RunId): Promise<RunRow | undefined>;
  /**
   * Whether a later run of the same store epoch is on record. If so, a run that is not on record was removed by retention, and the store is
   * not older than it.
   */
  isFollowed(id: RunId): Promise<boolean>;
  ofJob(jobId: JobId): Promise<readonly RunRow[]>;
  /**
   * Ends a page of dead sessions' live runs by the counters of their jobs. Only handler runs and unstarted runs of plain jobs: items,
   * started commands and recorded exits need a look at each.
   */
  settleLostPage(options: {
    readonly workerIds: readonly WorkerId[];
    /** At most 200 on an engine that blocks the event loop, and 500 elsewhere, whatever is asked for. */
    readonly limit: number;
    readonly reason: string;
    readonly actor: string;
    /** Where more than 100 jobs are lost by one event, those beyond come back spread over this long. */
    readonly recoverySpreadMs: DurationMs;
    /** For the jitter of delays: a number from 0 up to 1. */
    readonly random: () => number;
    /** What the page before answered; absent: the first page of an event, which counts what is to come. */
    readonly event?: LossProgress | undefined;
  }): Promise<{ readonly settled: number; readonly ended: readonly LostEnd[]; readonly more: boolean; readonly event: LossProgress }>;
  /** Jobs whose last run's process must still be proved stopped, of this host (or whose host cannot be probed, past `stopBy`). */
  listBlocked(options: {
    readonly only?: RunScope["only"] | undefined;
    readonly limit: number;
    readonly after?: JobId | undefined;
  }): Promise<readonly BlockedJob[]>;
  /** The proof: unblocks the job and gives its slot back. */
  clearBlocks(
    blocks: readonly {
      readonly jobId: JobId;
      readonly runId: RunId;
      readonly proof: string;
      readonly actor: string;
    }[],
  ): Promise<readonly boolean[]>;
  /** Adds a recorded suspend of a host to its live runs, which are judged by awake time. */
  addSuspend(options: { readonly hostId: HostId; readonly ms: DurationMs }): Promise<void>;
}

export interface BlockedJob {
  readonly jobId: JobId;
  readonly queue: string;
  readonly stopBy: Instant;
  readonly run: RunRow;
  readonly supervisor: SupervisorRow | null;
  readonly itemId: ItemId | null;
  readonly visitId: VisitId | null;
}
