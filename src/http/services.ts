import type { LoopName } from "../config/loop-names.ts";
import type { Instant } from "../domain/time.ts";
import type { LoopSnapshot, TickReport } from "../loops/skeleton/loop.ts";
import type { SettingsEditor } from "../operations/change-settings.ts";
import type { Operations } from "../operations/operations.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { Store } from "../store/port/store.ts";
import type { EventBus } from "../telemetry/event-bus.ts";
import type { ForegroundSessions } from "../worker/foreground/foreground-sessions.ts";

/** Whether new work is taken, and what is in the way. */
export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  /** Queues of which nothing is started here, while the others go on. */
  readonly heldBack: readonly { readonly queue: string; readonly why: string }[];
  /** What holds up a part of the work, such as a share that does not answer. */
  readonly troubles: readonly string[];
}

/** What the API needs of the daemon. The composition root fills it; the server knows no implementation. */
export interface DaemonServices {
  readonly store: Store;
  readonly events: EventBus;
  readonly registry: PipelineRegistry;
  readonly operations: Operations;
  readonly loops: {
    snapshots(): readonly LoopSnapshot[];
    /** One tick now. Undefined: this daemon has no such loop. Throws `unavailable` while the daemon is starting. */
    runOnce(name: LoopName, options: { readonly dryRun: boolean }): Promise<TickReport | undefined>;
  };
  /** The other end of `wakeful run`. Absent: there is no daemon that could follow a run. */
  readonly runSessions?: Pick<ForegroundSessions, "open" | "start" | "recordCommand" | "renew" | "end" | "abandon">;
  /** What loops read at each tick. */
  readonly settings: SettingsEditor;
  readonly readiness: () => Readiness;
  readonly metrics: {
    readonly contentType: string;
    text(): Promise<string>;
    observeRequest(request: {
      readonly method: string;
      readonly route: string;
      readonly status: number;
      readonly durationMs: number;
    }): void;
  };
  readonly daemon: {
    readonly version: string;
    readonly pid: number;
    readonly startedAt: Instant;
    /** Tells this start from others: event numbers are only compared within one. */
    readonly startSeq: number;
    readonly dataDir: string;
    /** Identifies the data directory to callers without a token. Absent: it is not answered. */
    readonly instance?: string | undefined;
    /** Where the store is, without passwords. */
    readonly store: string;
  };
}
