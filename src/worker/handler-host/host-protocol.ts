import type { HostId, RunId, WorkerId } from "../../domain/ids.ts";
import { type DurationMs, type Instant, seconds } from "../../domain/time.ts";
import type { HelperProgram } from "../../files/foreign/path-helper.ts";
import type { PipelineDefinition } from "../../pipelines/definition.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import type { StoreTurns } from "../../store/port/turns.ts";
import type { FileBeatingRun } from "../buffers/heartbeat-files.ts";

/** File descriptors of the handler host, beside the usual three. */
export const hostFds = { calls: 3, presence: 4 } as const;

/** How long a module may take to load. */
export const loadWithinMs: DurationMs = seconds(60);

/** The host's exit code when a restart as it is cannot help: its module does not load. */
export const unloadableExitCode = 78;

/** The daemon's first message to its handler host. */
export interface HostSetup {
  /** Absolute path of the module with the handlers. */
  readonly modulePath: string;
  readonly pipelines: readonly PipelineDefinition[];
  readonly hostId: HostId;
  readonly dataDir: string;
  /** Where relative paths of stages start. */
  readonly baseDir: string;
  readonly concurrency: number;
  readonly outstandingMax: number;
  /** As the daemon's store has them. */
  readonly turns: StoreTurns;
  readonly renewMs: DurationMs;
  /** How long one renewal may take before it counts as failed. */
  readonly renewTimeoutMs: DurationMs;
  readonly stopGraceMs: DurationMs;
  readonly killGraceMs: DurationMs;
  /** Touches paths on shares in its place. Absent: it touches them itself. */
  readonly pathHelper: HelperProgram | undefined;
  /** How long a call to a share may give no sign. */
  readonly pathTimeoutMs: DurationMs;
  /** The session's name. */
  readonly name: string;
  /** The host's own, as its daemon sees it. */
  readonly process: ProcessIdentity;
  /** The store's clock. */
  readonly now: Instant;
}

/** What the host found in its module, told before its session begins. */
export interface HostOffer {
  /** Plain tasks, by name; the daemon makes their queues known. */
  readonly tasks: readonly string[];
  /** Handlers that stages name and the module lacks. */
  readonly missing: readonly { readonly pipeline: string; readonly stage: string; readonly handler: string }[];
}

/** Notes to the host. `abort`: hand everything back and exit. `drain`: end what is active, then exit. */
export interface HostOrders {
  readonly setup: HostSetup;
  readonly jobs: undefined;
  readonly stop: { readonly mode: "abort" | "drain" };
}

/** Notes from the host. `retiring`: it ends itself because of handlers that do not stop; its other runs are lost with it. */
export interface HostNotes {
  readonly event: { readonly name: string; readonly data: unknown };
  readonly unloadable: { readonly message: string };
  readonly retiring: { readonly runIds: readonly RunId[] };
}

/** What the presence thread is started with. */
export interface PresenceData {
  readonly workerId: WorkerId;
  readonly renewMs: DurationMs;
  /** How long one renewal may take before it counts as failed. */
  readonly renewTimeoutMs: DurationMs;
  /** Time for the main thread to react to a lost run or a closed pipe before the whole process is killed. */
  readonly obeyWithinMs: DurationMs;
  /** Time between two looks at the heartbeat files of the runs that have any. */
  readonly lookMs: DurationMs;
  /** The store's clock. */
  readonly now: Instant;
}

/** Between the presence thread and the main thread of the host. */
export type ToMainThread =
  | { readonly kind: "ask"; readonly number: number }
  | { readonly kind: "lost"; readonly runs: readonly { readonly runId: RunId; readonly why: string }[] }
  | { readonly kind: "fenced"; readonly state: string };

export type ToPresenceThread =
  | HeldAnswer
  | { readonly kind: "watch"; readonly run: FileBeatingRun }
  | { readonly kind: "unwatch"; readonly runId: RunId };

export interface HeldAnswer {
  readonly kind: "held";
  readonly number: number;
  readonly held: readonly RunId[];
  readonly claimSeqReceived: number;
  /** Lost runs whose handlers are still at work. */
  readonly disobeying: boolean;
}
