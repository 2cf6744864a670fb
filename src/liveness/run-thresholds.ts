import { type DurationMs, hours, minutes, seconds } from "../domain/time.ts";
import type { RunFacts } from "./evidence.ts";

/** The numbers by which runs are judged. They are read at each tick; a run's own limits come before them. */
export interface RunThresholds {
  /** Consecutive dead answers that prove a death. Values below 1 act as 1. */
  readonly deadTicks: number;
  /** How long after its recorded exit a run may be finalised by its supervisor. 0 is legal. */
  readonly finalizeGraceMs: DurationMs;
  /** How long a reserved run may go unnamed by the session that claimed it. */
  readonly startWithinMs: DurationMs;
  /** How long a living run without a supervisor waits to be adopted. */
  readonly adoptWithinMs: DurationMs;
  /** How long a session may be silent. */
  readonly deadAfterMs: DurationMs;
  /** How soon a suspect is looked at again. */
  readonly suspectRecheckMs: DurationMs;
  /** The ceiling of runs that have neither one of their own nor a timeout. */
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
  suspectRecheckMs: 250,
  maxRunningMs: hours(24),
  reaperTimeoutSlackMs: minutes(1),
};

const defaultGatePatienceMs: DurationMs = minutes(10);

/** The number of dead answers that act, never below 1; a fraction is rounded up, for a part of a tick proves nothing. */
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

/** What a stage's longest honest run consists of. All in milliseconds. */
export interface StageTimes {
  readonly timeoutMs?: DurationMs | undefined;
  readonly finaliseMs: DurationMs;
  readonly finalizeGraceMs: DurationMs;
  readonly gatePatienceMs: DurationMs;
}

const slackMs = seconds(60);

/** The ceiling of a stage that sets none: above everything its runs may honestly take; where it has no timeout, the threshold for all (24 h). */
export function defaultMaxRunningMs(
  times: StageTimes,
  { maxRunningMs }: Pick<RunThresholds, "maxRunningMs"> = defaultRunThresholds,
): DurationMs {
  if (times.timeoutMs === undefined) return maxRunningMs;
  return times.timeoutMs + times.finaliseMs + times.finalizeGraceMs + times.gatePatienceMs + slackMs;
}
