import type { ItemId, JobId, OwnerEpoch, RunId, WorkerId } from "../domain/ids.ts";
import type { JsonText } from "../domain/json-text.ts";
import type { WorkerState } from "../domain/lifecycles/worker.ts";
import type { DurationMs, Instant } from "../domain/time.ts";
import type { EndedBy } from "../liveness/exit-policy.ts";
import type { GateReading } from "../liveness/exit-resolution.ts";
import type { RunOutput } from "../observe/run-output.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import type { ClaimedRun, ClaimRequest, Fence, FencedAnswer, StartRun, StoredProcess } from "../store/port/runs.ts";
import type { WorkerRow } from "../store/port/workers.ts";

/**
 * What a worker may ask: the worker service itself, or a door to it. Plain JSON in and out, and each verb may be repeated after a lost
 * answer. A worker reports what it saw; this interface's other side decides.
 */
export interface WorkerBackend {
  /** Opens a session. The same `helloId` again answers the session that it opened. */
  hello(hello: Hello): Promise<WorkerId>;
  /** Takes jobs. The same claim again answers what it took and still lives. A session that is over gets none. */
  claim(request: ClaimRequest): Promise<readonly ClaimedWork[]>;
  /** reserved -> started. A command is let go only after `ok` or `already`. */
  start(workerId: WorkerId, starts: readonly RunStart[]): Promise<readonly FencedAnswer[]>;
  /** Replaces the wrapper's process by the command's own. Repeated, it asks whether the run is still the session's. */
  command(workerId: WorkerId, command: Fence & { readonly process: StoredProcess }): Promise<FencedAnswer>;
  /** Signs of progress. Answers the runs that are not the session's, or not alive, any more. */
  beat(workerId: WorkerId, beats: readonly RunBeat[]): Promise<readonly RunId[]>;
  /** Presence, and what the worker holds. Answers the session's state and which runs are lost. */
  renew(renewal: Renewal): Promise<RenewalAnswer>;
  /** How runs ended. Answers in the order given. */
  end(workerId: WorkerId, reports: readonly EndReport[]): Promise<readonly EndAnswer[]>;
  /** What was read of a run whose exit is on record. */
  reading(workerId: WorkerId, reading: ExitReading): Promise<EndAnswer>;
  /** Takes over a run of the session's host whose supervisor is proved dead. Undefined: another was first. */
  adopt(workerId: WorkerId, adoption: Adoption): Promise<AdoptedWork | undefined>;
  /** No further claim will come. */
  drain(workerId: WorkerId): Promise<void>;
  /** The session ends; runs of commands that have not exited stay for adoption. */
  leave(workerId: WorkerId): Promise<void>;
  /** Instants of the store's clock. */
  now(): Instant;
  /** Calls back when there may be jobs to claim. A hint: the worker polls as well. Returns the way to stop. */
  onJobs(listener: () => void): () => void;
}

export interface Hello {
  /** Made by the caller, unique. */
  readonly helloId: string;
  readonly name: string;
  readonly kind: WorkerRow["kind"];
  readonly process: StoredProcess;
  readonly concurrency: number;
  readonly queues: readonly string[];
}

/** A claimed run with all that its worker needs of the store. */
export interface ClaimedWork extends ClaimedRun {
  /** Set for a stage's run, not for a plain task. */
  readonly item?: WorkItem | undefined;
  /** The API token for the processes of a command; absent for handlers. */
  readonly token?: string | undefined;
}

/** The item that a stage's run works on. */
export interface WorkItem {
  readonly id: ItemId;
  readonly key: string;
  readonly pipeline: string;
  /** Relative to the data directory's `work/`. */
  readonly dir: string;
  readonly label: string | null;
  readonly input: JsonText;
  /** The output of the stage before. */
  readonly previous: JsonText | null;
}

/** Thresholds change while a run lives, so the service decides when it is first looked at. */
export type RunStart = Omit<StartRun, "checkAt">;

export interface RunBeat {
  readonly runId: RunId;
  readonly at: Instant;
  readonly progress?: JsonText | undefined;
}

/** A worker asks for a claim only while it is at most this many beyond the last one before which all have been answered. */
export const claimsUnreceivedMax = 8;

export interface Renewal {
  readonly workerId: WorkerId;
  readonly held: readonly RunId[];
  /** All claims up to this number have been answered. */
  readonly claimSeqReceived: number;
  readonly loopLagMs?: number | undefined;
}

export interface RenewalAnswer {
  readonly state: WorkerState;
  readonly lost: readonly { readonly runId: RunId; readonly why: string }[];
}

/** How a run ended, as its worker saw it. */
export type RunEnding =
  | { readonly kind: "returned"; readonly output?: JsonText | undefined }
  | { readonly kind: "threw"; readonly message: string; readonly permanent: boolean }
  /** It returned something that cannot be kept. */
  | { readonly kind: "bad_output"; readonly why: string }
  | { readonly kind: "exited"; readonly exitCode: number; readonly endedBy?: EndedBy }
  | { readonly kind: "timed_out"; readonly afterMs: DurationMs }
  /** Handed back before it ended by itself. `byPerson`: somebody interrupted the worker. */
  | { readonly kind: "released"; readonly why: string; readonly byPerson?: boolean | undefined }
  | { readonly kind: "not_started"; readonly cause: NotStartedCause; readonly why: string };

/**
 * Why nothing of a run was executed. `failed`: it would fail again; `machine`: its host lacks something; `unavailable`: a silent store;
 * `run_dir_exists`: the store is older than its run folders; `no_go`: its wrapper got no `go`; `abandoned`: nobody wants it.
 */
export type NotStartedCause = "failed" | "machine" | "unavailable" | "run_dir_exists" | "no_go" | "abandoned";

export interface EndReport extends Fence {
  readonly ending: RunEnding;
  /** Of a run claimed as reserved: the store may not have its start yet, which is folded into its end. */
  readonly start?: Omit<RunStart, keyof Fence> | undefined;
  /** Something of it may still be at work: its job waits until that is proved gone. */
  readonly mayStillRun?: boolean | undefined;
}

/**
 * `read`: its exit is on record: what it left is read from `at` on and reported with `reading`. `early`: it may run for `leftMs` more. `refused`:
 * this report can never be written, and the run is left to its judge.
 */
export type EndAnswer =
  | FencedAnswer
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "read"; readonly at: Instant }
  | { readonly kind: "early"; readonly leftMs: DurationMs };

export interface ExitReading extends Fence {
  readonly endedBy?: EndedBy;
  readonly output: RunOutput;
  readonly gate: GateReading;
  /** When the reading began. */
  readonly begunAt: Instant;
  /** Something that the run left could not be stopped: its job waits until that is proved gone. */
  readonly straysLeft: boolean;
  /** For people. */
  readonly evidence: Readonly<Record<string, string | number | boolean | null>>;
}

export interface Adoption extends Fence {
  readonly reason: string;
}

export interface AdoptedWork {
  readonly jobId: JobId;
  readonly ownerEpoch: OwnerEpoch;
  readonly item?: WorkItem | undefined;
  /** As declared or, where it no longer is, as in the version under which the run began. */
  readonly stage: StageDefinition;
  /** What the command prints counts as progress. */
  readonly countsOutput: boolean;
}
