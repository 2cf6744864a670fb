import type { RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import type { OpenedRunSession, OpenRunSession, RunSessionRef } from "./foreground-sessions.ts";

/** What `wakeful run` asks of the daemon. Each may reject with `daemon_unreachable`; all but `open` and `acquireLease` may be repeated. */
export interface RunCommandApi {
  open(request: OpenRunSession): Promise<OpenedRunSession>;
  /** False: the run was ended meanwhile, and its command must not start. */
  start(run: RunSessionRef & { readonly process: ProcessIdentity }): Promise<boolean>;
  recordCommand(run: RunSessionRef & { readonly process: ProcessIdentity }): Promise<boolean>;
  renew(run: RunSessionRef): Promise<{ readonly lost: string | null }>;
  end(run: RunSessionRef & { readonly exitCode: number }): Promise<boolean>;
  abandon(run: RunSessionRef & { readonly reason: string }): Promise<void>;
  /** Repeat it with the same ticket until the lease is held or timed out. `waitMs` 0: now or not at all. */
  acquireLease(request: {
    readonly name: string;
    readonly ticket: string;
    readonly runId: RunId;
    readonly ttlMs: DurationMs;
    readonly maxHoldMs: DurationMs;
    readonly waitMs: DurationMs;
  }): Promise<
    | { readonly kind: "held"; readonly fencing: number }
    | { readonly kind: "waiting"; readonly position: number }
    | { readonly kind: "timed_out" }
  >;
  abandonLease(request: { readonly name: string; readonly ticket: string }): Promise<void>;
  /** False: another holds the lease now. */
  renewLease(lease: { readonly name: string; readonly fencing: number }): Promise<boolean>;
  releaseLease(lease: { readonly name: string; readonly fencing: number }): Promise<boolean>;
  /** Its holder, for people, and since how long; undefined: nobody. */
  leaseHolder(name: string): Promise<{ readonly holder: string; readonly heldMs: DurationMs } | undefined>;
}
