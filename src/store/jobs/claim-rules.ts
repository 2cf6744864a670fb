import { WakefulError } from "../../domain/errors.ts";
import { addMs, type DurationMs, type Instant } from "../../domain/time.ts";
import { defaultRunThresholds } from "../../liveness/run-thresholds.ts";
import { type ClaimRequest, claimMax, type RunLimits } from "../port/runs.ts";

/** When a judge first has something to say about a claimed run: its first `check_at`. */
export interface FirstChecks {
  /** How long after its claim a run that was not started is looked at. */
  startWithinMs(): DurationMs;
  /** The earliest instant at which a run with these limits, started then, could be judged by the thresholds in force now. */
  firstCheckAt(startedAt: Instant, limits: RunLimits): Instant;
}

/** The thresholds on which first checks depend. */
export interface FirstCheckThresholds {
  readonly startWithinMs: DurationMs;
  /** The ceiling of runs that have neither one of their own nor a timeout. */
  readonly maxRunningMs: DurationMs;
}

/** @param thresholds - Read anew for each run, because they may change while the store is open. */
export function createFirstChecks(thresholds: () => FirstCheckThresholds): FirstChecks {
  return {
    startWithinMs: () => thresholds().startWithinMs,
    firstCheckAt: (startedAt, { timeoutMs, heartbeatTimeoutMs, maxRunningMs }) => {
      // With a timeout the default ceiling lies beyond it.
      const ceilingMs = maxRunningMs ?? (timeoutMs === undefined ? thresholds().maxRunningMs : Number.POSITIVE_INFINITY);
      const timedOutMs = timeoutMs === undefined ? Number.POSITIVE_INFINITY : timeoutMs + defaultRunThresholds.reaperTimeoutSlackMs;
      // It may beat once, at once, and never again.
      const hungMs = heartbeatTimeoutMs === undefined ? Number.POSITIVE_INFINITY : heartbeatTimeoutMs + 1;
      return addMs(startedAt, Math.min(ceilingMs, timedOutMs, hungMs));
    },
  };
}

/** By the thresholds of a configuration that says nothing. */
export const firstChecks: FirstChecks = createFirstChecks(() => defaultRunThresholds);

/** Refuses a claim that no transaction should see. */
export function checkClaim({ max, startNow, queues }: ClaimRequest): void {
  if (!Number.isInteger(max) || max < 0 || max > claimMax)
    throw new WakefulError("bad_request", `A claim takes 0 to ${claimMax} runs; ${max} were asked for.`);
  if (!Number.isInteger(startNow) || startNow < 0) throw new WakefulError("bad_request", `startNow must be 0 or more; it is ${startNow}.`);
  if (queues.length > 1 && new Set(queues.map(({ name }) => name)).size < queues.length)
    throw new WakefulError("bad_request", "A claim names each queue once.");
}
