import { WakefulError } from "../domain/errors.ts";
import { addMs, type DurationMs, hours, type Instant, minutes, seconds } from "../domain/time.ts";
import type { ClaimRequest, RunLimits } from "./port/runs.ts";

/** When a judge first has something to say about a run that was just claimed: what its `check_at` begins with. */
export interface FirstChecks {
  /** How long after its claim a run that was not started is looked at. */
  startWithinMs(): DurationMs;
  /** The earliest instant at which a run with these limits, started then, could be judged by the thresholds in force now. */
  firstCheckAt(startedAt: Instant, limits: RunLimits): Instant;
}

/** A supervisor stops its run at the stage's timeout; the judge looks this much later. */
const timeoutMarginMs = minutes(1);

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
      const timedOutMs = timeoutMs === undefined ? Number.POSITIVE_INFINITY : timeoutMs + timeoutMarginMs;
      // It may beat once, at once, and never again.
      const hungMs = heartbeatTimeoutMs === undefined ? Number.POSITIVE_INFINITY : heartbeatTimeoutMs + 1;
      return addMs(startedAt, Math.min(ceilingMs, timedOutMs, hungMs));
    },
  };
}

const defaults: FirstCheckThresholds = { startWithinMs: seconds(30), maxRunningMs: hours(24) };
/** By the thresholds of a configuration that says nothing. */
export const firstChecks: FirstChecks = createFirstChecks(() => defaults);

/** Most runs of one claim. */
export const claimMax = 1000;

/** Refuses a claim that no transaction should see. */
export function checkClaim({ max, startNow, queues }: ClaimRequest): void {
  if (!Number.isInteger(max) || max < 0 || max > claimMax)
    throw new WakefulError("bad_request", `A claim takes 0 to ${claimMax} runs; ${max} were asked for.`);
  if (!Number.isInteger(startNow) || startNow < 0) throw new WakefulError("bad_request", `startNow must be 0 or more; it is ${startNow}.`);
  if (queues.length > 1 && new Set(queues.map(({ name }) => name)).size < queues.length)
    throw new WakefulError("bad_request", "A claim names each queue once.");
}
