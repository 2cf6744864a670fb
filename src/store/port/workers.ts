import type { HostId, RunId, WorkerId } from "../../domain/ids.ts";
import type { WorkerState } from "../../domain/lifecycles/worker.ts";
import type { Instant } from "../../domain/time.ts";
import type { StoredProcess } from "./runs.ts";

export interface WorkerRow {
  readonly id: WorkerId;
  readonly name: string;
  /** `command`: inside the daemon; `handler`: the handler host or an application; `run`: one `wakeful run`. */
  readonly kind: "command" | "handler" | "run";
  readonly state: WorkerState;
  readonly process: StoredProcess;
  readonly registeredAt: Instant;
  readonly lastHeardAt: Instant;
  readonly endedAt: Instant | null;
  readonly concurrency: number;
  readonly claimSeqReceived: number;
  /** Event-loop lag the presence thread reported last. */
  readonly loopLagMs: number | null;
  readonly queues: readonly string[];
}

/** What a session's judge looks at. */
export interface SessionPresence {
  readonly id: WorkerId;
  readonly process: StoredProcess;
  readonly lastHeardAt: Instant;
}

export interface WorkersStore {
  register(worker: {
    readonly name: string;
    readonly kind: WorkerRow["kind"];
    readonly process: StoredProcess;
    readonly concurrency: number;
    readonly queues: readonly string[];
    /** The host of the daemon that hears it. Absent: it writes to the store itself. */
    readonly via?: HostId | undefined;
  }): Promise<WorkerId>;
  /**
   * Presence. `held`: every run the worker holds. Answers its own state and, of the held runs, those that are not its any more.
   * A dead session stays dead: the worker must stop its runs and register again.
   */
  renew(renewal: {
    readonly workerId: WorkerId;
    readonly held: readonly RunId[];
    readonly claimSeqReceived: number;
    readonly loopLagMs?: number | undefined;
    /** The host of the daemon that has heard this. Absent: as before. */
    readonly via?: HostId | undefined;
  }): Promise<{
    readonly state: WorkerState;
    readonly lost: readonly { readonly runId: RunId; readonly why: string }[];
  }>;
  drain(id: WorkerId): Promise<boolean>;
  /** live|draining -> stopped. Its unexited command runs stay for adoption. */
  leave(id: WorkerId): Promise<boolean>;
  /** live|draining -> dead, by the worker-reaper; answers whether this call won. */
  declareDead(
    id: WorkerId,
    verdict: {
      readonly reason: string;
      readonly message: string;
      readonly evidence: string;
      readonly actor: string;
    },
  ): Promise<boolean>;
  get(id: WorkerId): Promise<WorkerRow | undefined>;
  listAlive(): Promise<readonly WorkerRow[]>;
  /**
   * What their judge asks each second: how many are alive, and of those the sessions of its own host, whose processes it can look at, and
   * those that were not heard after `silentSince`. By id. The others are only counted.
   */
  listPresence(options: { readonly hostId: HostId; readonly silentSince: Instant }): Promise<{
    readonly alive: number;
    readonly sessions: readonly SessionPresence[];
  }>;
  /** Newest first. */
  list(options: { readonly states?: readonly WorkerState[] | undefined; readonly limit: number }): Promise<readonly WorkerRow[]>;
  /** Sessions that have ended since then and still hold live runs, oldest end first: what a crash between a verdict and its settlements leaves. */
  listEndedHolding(options: {
    readonly endedSince: Instant;
    readonly limit: number;
  }): Promise<readonly { readonly id: WorkerId; readonly endedAt: Instant }[]>;
  /**
   * Hosts of which live sessions with differing boot ids were both heard since then: cloned machines.
   * A session that is merely left over from before a reboot is not heard any more, and no conflict.
   */
  listHostConflicts(heardSince: Instant): Promise<readonly HostId[]>;
}
