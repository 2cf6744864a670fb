import { type DurationMs, hours, minutes, seconds } from "../domain/time.ts";
import type { RunFacts } from "./evidence.ts";

/** The numbers by which runs are judged, read at each tick. A run's own limits take precedence. */
export interface RunThresholds {
  /** Consecutive dead answers that prove a death. Values below 1 act as 1. */
  readonly deadTicks: number;
  /** How long a supervisor may finalise after the recorded exit. 0 is legal. */
  readonly finalizeGraceMs: DurationMs;
  /** How long the session that claimed a reserved run may leave it unnamed. */
  readonly startWithinMs: DurationMs;
  /** How long a living run without a supervisor waits to be adopted. */
  readonly adoptWithinMs: DurationMs;
  /** How long a session may be silent. */
  readonly deadAfterMs: DurationMs;
  /** How long the host that has an item's files may be silent before what ran there is given up. */
  readonly pinnedHostLostMs: DurationMs;
  /** How long a living wrapper may take to record its dead command's end: disks may be full or slow, machines starved. */
  readonly recordWithinMs: DurationMs;
  /** How soon a suspect is probed again. */
  readonly suspectRecheckMs: DurationMs;
  /** The ceiling of runs with neither a ceiling nor a timeout of their own. */
  readonly maxRunningMs: DurationMs;
  /** How long the reaper leaves a timeout to the run's own supervisor. */
  readonly reaperTimeoutSlackMs: DurationMs;
}

export const defaultRunThresholds: RunThresholds = {
  deadTicks: 2,
  finalizeGraceMs: minutes(5),
  startWithinMs: seconds(30),
  adoptWithinMs: seconds(30),
  deadAfterMs: seconds(30),
  pinnedHostLostMs: minutes(10),
  recordWithinMs: minutes(2),
  suspectRecheckMs: 250,
  maxRunningMs: hours(24),
  reaperTimeoutSlackMs: minutes(1),
};

const defaultGatePatienceMs: DurationMs = minutes(10);

/** The number of dead answers that act: at least 1, fractions rounded up, because part of a tick proves nothing. */
export function deadTicksNeeded(thresholds: Pick<RunThresholds, "deadTicks">): number {
  return Number.isFinite(thresholds.deadTicks) ? Math.max(1, Math.ceil(thresholds.deadTicks)) : 1;
}

export const finalizeGraceOf = (run: Pick<RunFacts, "limits">, thresholds: RunThresholds): DurationMs =>
  run.limits.finalizeGraceMs ?? thresholds.finalizeGraceMs;

export const maxRunningOf = (run: Pick<RunFacts, "limits">, thresholds: RunThresholds): DurationMs =>
  run.limits.maxRunningMs ??
  defaultMaxRunningMs(
    {
      timeoutMs: run.limits.timeoutMs,
      finaliseMs: 0,
      finalizeGraceMs: finalizeGraceOf(run, thresholds),
      gatePatienceMs: gatePatienceOf(run),
    },
    thresholds,
  );

export const gatePatienceOf = (run: Pick<RunFacts, "limits">): DurationMs => run.limits.gatePatienceMs ?? defaultGatePatienceMs;

/** The parts of a stage's longest honest run, in milliseconds. */
export interface StageTimes {
  readonly timeoutMs?: DurationMs | undefined;
  readonly finaliseMs: DurationMs;
  readonly finalizeGraceMs: DurationMs;
  readonly gatePatienceMs: DurationMs;
}

const slackMs = seconds(60);

/**
 * The ceiling of a stage that sets none: above all that its runs may honestly take. Without a timeout, the threshold of all runs (24 h).
 */
export function defaultMaxRunningMs(
  times: StageTimes,
  { maxRunningMs }: Pick<RunThresholds, "maxRunningMs"> = defaultRunThresholds,
): DurationMs {
  if (times.timeoutMs === undefined) return maxRunningMs;
  return times.timeoutMs + times.finaliseMs + times.finalizeGraceMs + times.gatePatienceMs + slackMs;
}
