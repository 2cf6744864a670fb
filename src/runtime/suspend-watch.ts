import type { DurationMs } from "../domain/time.ts";
import type { HostClock } from "./clock.ts";

/** One reading of a host's three clocks, in milliseconds. */
export interface ClockSample {
  readonly wall: number;
  readonly mono: number;
  readonly boot: number | undefined;
}

/** What happened between two samples. `deafMs`: how long before the second sample nothing could be heard; 0 where no time passed. */
export type ClockFinding =
  /** All clocks moved on, but nobody looked: the process was paused or starved. */
  | { readonly kind: "stalled"; readonly deafMs: DurationMs }
  /** Time passed that the monotonic clock did not count: the machine slept. */
  | { readonly kind: "suspended"; readonly deafMs: DurationMs; readonly suspendedMs: DurationMs }
  /** The wall alone moved: somebody set it. Without a boot clock a forward move may also have been a suspend. */
  | { readonly kind: "stepped"; readonly deafMs: DurationMs; readonly byMs: DurationMs };

export interface SuspendWatchOptions {
  /** How far apart the samples are meant to be. */
  readonly periodMs: DurationMs;
  /** A look that is late by more than this counts as a stall. Default five periods, at least 2 000 ms. */
  readonly stallMs?: DurationMs | undefined;
  /** Smaller differences between the clocks are resolution and drift. Default 500 ms. */
  readonly toleranceMs?: DurationMs | undefined;
}

export const sampleOf = (host: HostClock): ClockSample => ({ mono: host.mono(), boot: host.boot(), wall: host.wall() });

/** A wall under NTP may drift by this fraction without having been set. */
const wallDriftMax = 0.001;

/** Compares two successive samples. Several things may have happened at once, so the answer is a list; empty: nothing did. */
export function findClockEvents(before: ClockSample, after: ClockSample, options: SuspendWatchOptions): readonly ClockFinding[] {
  const toleranceMs = options.toleranceMs ?? 500;
  const stallMs = options.stallMs ?? Math.max(2_000, 5 * options.periodMs);
  const monoMs = after.mono - before.mono;
  const bootMs = before.boot === undefined || after.boot === undefined ? undefined : after.boot - before.boot;
  const findings: ClockFinding[] = [];

  const lateMs = monoMs - options.periodMs;
  if (lateMs > stallMs) findings.push({ kind: "stalled", deafMs: Math.round(monoMs) });

  const suspendedMs = bootMs === undefined ? 0 : bootMs - monoMs;
  if (suspendedMs > toleranceMs) {
    findings.push({ kind: "suspended", deafMs: Math.round(bootMs ?? monoMs), suspendedMs: Math.round(suspendedMs) });
  }

  const elapsedMs = bootMs ?? monoMs;
  const byMs = after.wall - before.wall - elapsedMs;
  if (Math.abs(byMs) > Math.max(toleranceMs, wallDriftMax * elapsedMs)) {
    // Without a boot clock nobody can tell a suspend from a wall set forward. Deaf is the safe reading: it only delays.
    const deafMs = bootMs === undefined && byMs > 0 ? Math.round(elapsedMs + byMs) : 0;
    findings.push({ kind: "stepped", deafMs, byMs: Math.round(byMs) });
  }
  return findings;
}
