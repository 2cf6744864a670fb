import { addMs, type Instant, minutes } from "../domain/time.ts";
import type { RunFacts } from "./evidence.ts";
import { absentTimeoutFor } from "./heartbeat-policy.ts";
import { finalizeGraceOf, gatePatienceOf, maxRunningOf, type RunThresholds } from "./run-thresholds.ts";

export const earliest = (...instants: readonly Instant[]): Instant => Math.min(...instants) as Instant;
export const latest = (...instants: readonly Instant[]): Instant => Math.max(...instants) as Instant;

/** Where a run's age starts: the reservation if the start is unknown, so that the run always has a limit. */
export const startOf = (run: RunFacts): Instant => run.startedAt ?? run.reservedAt;

/** When the run reaches its ceiling, unless its host is suspended again. */
export const ceilingAt = (run: RunFacts, thresholds: RunThresholds): Instant =>
  addMs(startOf(run), (run.suspendedMs ?? 0) + maxRunningOf(run, thresholds));

/** An exit code without its time has no age, and an exit without a code no outcome: the ceiling (tier 3 of docs/verdicts.md) ends both. */
export function wholeExit(run: RunFacts): { readonly exitCode: number; readonly exitedAt: Instant } | undefined {
  const { exitCode, exitedAt } = run;
  return exitCode !== undefined && exitedAt !== undefined ? { exitCode, exitedAt } : undefined;
}

/** When the run last made progress. Progress from before its start is another run's. */
export const progressOf = (run: RunFacts): Instant | undefined =>
  (run.lastProgressAt ?? Number.NEGATIVE_INFINITY) >= startOf(run) ? run.lastProgressAt : undefined;

/** The longest time between two looks at a run that was proved alive. */
const provedAliveRecheckMs = minutes(10);

/** What the present look has found, from which the next one's time follows. */
export interface LookFindings {
  /** When the session last named a reserved run. Default: its reservation. */
  readonly namedAt?: Instant;
  /** When progress was last looked for. Default: the start. A first sign of progress may come right after, and be the last. */
  readonly lookedAt?: Instant;
  /**
   * The process was probed here and lives. Default false. Its session's silence then brings no look forward: probes and the worker-reaper
   * find deaths. Ten minutes bound the wait if that loop is switched off.
   */
  readonly provedAlive?: boolean;
}

/**
 * What `runs.check_at` says: the earliest instant at which time alone could end the run, counted from its last signs of life. A beat need not
 * move it: a look that comes too early computes it again. Thresholds that shrink must.
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
