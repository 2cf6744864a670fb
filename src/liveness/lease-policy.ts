import { inSeconds } from "../domain/durations.ts";
import { ageMs, type DurationMs, type Instant } from "../domain/time.ts";
import type { Proof } from "./evidence.ts";

/** One held lease. The holder is a run or a registered process, never a session. */
export interface LeaseFacts {
  /** When this holder got it. */
  readonly grantedAt: Instant;
  /** When the holder last renewed it; the TTL counts from then. Absent: from the grant. */
  readonly renewedAt?: Instant | undefined;
  readonly ttlMs: DurationMs;
  /** The longest that any holder may have it, from the grant. Absent: no limit. */
  readonly maxHoldMs?: DurationMs | undefined;
  /** When a living holder past its TTL was reported; absent: not yet for this grant. */
  readonly alertedAt?: Instant | undefined;
}

export interface LeaseEvidence {
  /** A run counts as dead once it has ended or its process is proved dead. */
  readonly holder: Proof;
  /** The holder's run is being stopped and not yet proved stopped. */
  readonly stopping: boolean;
}

export type LeaseVerdict =
  | { readonly kind: "keep"; readonly reason: "within_ttl" | "holder_alive" | "being_stopped" }
  | { readonly kind: "alert"; readonly reason: "past_ttl"; readonly ageMs: DurationMs; readonly ttlMs: DurationMs }
  | { readonly kind: "free"; readonly reason: "holder_dead" }
  | { readonly kind: "free"; readonly reason: "ttl_over"; readonly ageMs: DurationMs; readonly ttlMs: DurationMs }
  | { readonly kind: "stop_then_free"; readonly reason: "held_too_long"; readonly heldMs: DurationMs; readonly maxHoldMs: DurationMs };

/**
 * Judges one held lease: a dead holder's is freed, an unknown one's at the TTL. A living holder is only alerted past the TTL, and stopped
 * at `maxHoldMs`. Nothing is freed while its holder is being stopped.
 */
export function judgeLease(lease: LeaseFacts, evidence: LeaseEvidence, now: Instant): LeaseVerdict {
  if (evidence.stopping) return { kind: "keep", reason: "being_stopped" };
  if (evidence.holder === "dead") return { kind: "free", reason: "holder_dead" };
  const renewedAt = lease.renewedAt ?? lease.grantedAt;
  const sinceRenewalMs = ageMs(renewedAt, now);
  const ttlOver = sinceRenewalMs >= lease.ttlMs;
  if (evidence.holder === "unknown") {
    return ttlOver
      ? { kind: "free", reason: "ttl_over", ageMs: sinceRenewalMs, ttlMs: lease.ttlMs }
      : { kind: "keep", reason: "within_ttl" };
  }
  const heldMs = ageMs(lease.grantedAt, now);
  const { maxHoldMs = Number.POSITIVE_INFINITY } = lease;
  if (heldMs >= maxHoldMs) return { kind: "stop_then_free", reason: "held_too_long", heldMs, maxHoldMs };
  if (ttlOver && lease.alertedAt === undefined) return { kind: "alert", reason: "past_ttl", ageMs: sinceRenewalMs, ttlMs: lease.ttlMs };
  return { kind: "keep", reason: ttlOver ? "holder_alive" : "within_ttl" };
}

/** Why something is done about a lease, for people, with the numbers that led to it. */
export function explainLease(verdict: Exclude<LeaseVerdict, { readonly kind: "keep" }>): string {
  switch (verdict.kind) {
    case "alert":
      return `not renewed for ${inSeconds(verdict.ageMs)} (TTL ${inSeconds(verdict.ttlMs)}), but its holder is alive`;
    case "free":
      if (verdict.reason === "holder_dead") return "its holder is dead";
      return `not renewed for ${inSeconds(verdict.ageMs)} (TTL ${inSeconds(verdict.ttlMs)}), and nobody can tell whether its holder lives`;
    case "stop_then_free":
      return `held for ${inSeconds(verdict.heldMs)} (limit ${inSeconds(verdict.maxHoldMs)})`;
  }
}
