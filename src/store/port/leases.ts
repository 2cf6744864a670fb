import type { RunId } from "../../domain/ids.ts";
import type { LeaseState } from "../../domain/lifecycles/lease.ts";
import type { RunState } from "../../domain/lifecycles/run.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import type { StoredProcess, SupervisorRow } from "./runs.ts";

export type LeaseHolder = { readonly kind: "run"; readonly runId: RunId } | { readonly kind: "process"; readonly process: StoredProcess };

export interface LeaseRow {
  readonly name: string;
  readonly state: LeaseState;
  readonly holder: LeaseHolder | null;
  /** Rises with each grant; never issued twice. */
  readonly fencing: number;
  readonly grantedAt: Instant | null;
  readonly expiresAt: Instant | null;
  readonly ttlMs: DurationMs;
  readonly maxHoldMs: DurationMs;
  /** When the alert for a live holder past its TTL was raised. */
  readonly alertedAt: Instant | null;
  readonly waiters: number;
}

/** A held lease with what its judge needs. */
export interface HeldLease extends LeaseRow {
  readonly holder: LeaseHolder;
  readonly grantedAt: Instant;
  readonly expiresAt: Instant;
  /** Of a run holder: null when the run row is gone. */
  readonly run: {
    readonly state: RunState;
    readonly process: StoredProcess | null;
    readonly blocked: boolean;
    readonly supervisor: SupervisorRow | null;
  } | null;
}

export interface LeasesStore {
  /** Free and nobody before us: held at once. Else queued as a waiter until `timeoutAt`. `ticket` is caller-made and makes the call repeatable. */
  acquire(request: {
    readonly name: string;
    readonly ticket: string;
    readonly holder: LeaseHolder;
    readonly ttlMs: DurationMs;
    readonly maxHoldMs: DurationMs;
    readonly timeoutAt: Instant;
  }): Promise<
    | { readonly kind: "held"; readonly fencing: number }
    | { readonly kind: "waiting"; readonly position: number }
    | { readonly kind: "timed_out" }
  >;
  /** Extends `expires_at` by the TTL; false when the fencing number is not the current one. */
  renew(lease: { readonly name: string; readonly fencing: number }): Promise<boolean>;
  /** Frees it and grants it to the first waiter; false when the fencing number is not the current one. */
  release(lease: { readonly name: string; readonly fencing: number; readonly actor: string; readonly reason: string }): Promise<boolean>;
  abandon(ticket: string): Promise<void>;
  /** By name, after the cursor. */
  listHeld(options: {
    readonly scope?: readonly string[] | undefined;
    readonly after?: string | undefined;
    readonly limit: number;
  }): Promise<readonly HeldLease[]>;
  list(options: { readonly limit: number }): Promise<readonly LeaseRow[]>;
  markAlerted(lease: { readonly name: string; readonly fencing: number }): Promise<boolean>;
  /** Waiters past their timeout are dropped; free leases with waiters are granted. Answers how many of each. */
  tidyWaiters(): Promise<{
    readonly dropped: number;
    readonly granted: number;
  }>;
}
