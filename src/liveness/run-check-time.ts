import { addMs, type Instant, minutes } from "../domain/time.ts";
import type { RunFacts } from "./evidence.ts";
import { absentTimeoutFor } from "./heartbeat-policy.ts";
import { finalizeGraceOf, gatePatienceOf, maxRunningOf, type RunThresholds } from "./run-thresholds.ts";

export const earliest = (...instants: readonly Instant[]): Instant => Math.min(...instants) as Instant;
export const latest = (...instants: readonly Instant[]): Instant => Math.max(...instants) as Instant;

/** What a run's age counts from. A start that is not known is replaced by the reservation, lest the run have no limit at all. */
export const startOf = (run: RunFacts): Instant => run.startedAt ?? run.reservedAt;

/** When the run reaches its ceiling, if its host is suspended no more. */
export const ceilingAt = (run: RunFacts, thresholds: RunThresholds): Instant =>
  addMs(startOf(run), (run.suspendedMs ?? 0) + maxRunningOf(run, thresholds));

/** An exit code without its time has no age to judge by, and an exit without a code no outcome: both are left to tier 3. */
export function wholeExit(run: RunFacts): { readonly exitCode: number; readonly exitedAt: Instant } | undefined {
  const { state, exitCode, exitedAt } = run;
  return state === "exited" && exitCode !== undefined && exitedAt !== undefined ? { exitCode, exitedAt } : undefined;
}

/** When the run last made progress of its own; what lies before its start is another run's. */
export const progressOf = (run: RunFacts): Instant | undefined =>
  run.lastProgressAt !== undefined && run.lastProgressAt >= startOf(run) ? run.lastProgressAt : undefined;

/** How long a run that was proved alive goes without a look at most. */
const provedAliveRecheckMs = minutes(10);

/** What the look that computes the next one has learned. */
export interface LookFindings {
  /** When the session last named a reserved run. Default: its reservation. */
  readonly namedAt?: Instant;
  /** When progress was last looked for. Default: the start. A run that has shown none may do so right after, and never again. */
  readonly lookedAt?: Instant;
  /**
   * The run's process was probed here and lives. Default false. Its death is found by the look at processes, and that of its session by
   * the worker-reaper, so its session's silence does not bring it up; lest that loop be switched off, ten minutes do.
   */
  readonly provedAlive?: boolean;
}

/**
 * The earliest instant at which any row could match without alarming evidence (`isAlarming`): what `runs.check_at` stores.
 * It counts on silence from the last signs of life in `run`, so beats need not move it: a look that comes too early moves it forward.
 * Compute it anew when thresholds shrink.
 */
export function nextCheckAt(run: RunFacts, thresholds: RunThresholds, found: LookFindings = {}): Instant {
  const startedAt = startOf(run);
  if (run.state === "exited") {
    const exit = wholeExit(run);
    if (exit === undefined) return ceilingAt(run, thresholds);
    if (run.gatePendingAt !== undefined) {
      const patienceOverAt = addMs(run.gatePendingAt, gatePatienceOf(run));
      return earliest(patienceOverAt, run.gateReadAgainAt ?? exit.exitedAt);
    }
    return earliest(addMs(exit.exitedAt, finalizeGraceOf(run, thresholds)), ceilingAt(run, thresholds));
  }
  const { namedAt = run.reservedAt, lookedAt = startedAt, provedAlive = false } = found;
  const sessionSilentAt = addMs(run.session.heardAt, thresholds.deadAfterMs);
  const candidates = [ceilingAt(run, thresholds)];
  if (run.state === "reserved") return earliest(...candidates, sessionSilentAt, addMs(namedAt, thresholds.startWithinMs));
  candidates.push(provedAlive ? addMs(lookedAt, provedAliveRecheckMs) : sessionSilentAt);
  const { heartbeatTimeoutMs, timeoutMs } = run.limits;
  if (heartbeatTimeoutMs !== undefined) {
    const progressAt = progressOf(run);
    const absentAt = addMs(startedAt, absentTimeoutFor(heartbeatTimeoutMs));
    const firstBeatAt = latest(startedAt, lookedAt);
    if (progressAt === undefined) candidates.push(absentAt);
    candidates.push(addMs(progressAt ?? firstBeatAt, heartbeatTimeoutMs + 1));
  }
  if (timeoutMs !== undefined) {
    candidates.push(addMs(startedAt, (run.suspendedMs ?? 0) + timeoutMs + thresholds.reaperTimeoutSlackMs + 1));
  }
  return earliest(...candidates);
}
