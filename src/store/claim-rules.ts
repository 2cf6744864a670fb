import { WakefulError } from "../domain/errors.ts";
import { addMs, type DurationMs, type Instant, minutes, seconds } from "../domain/time.ts";
import type { ClaimRequest, RunLimits } from "./port/runs.ts";

/** When a judge first has something to say about a run that was just claimed: what its `check_at` begins with. */
export interface FirstChecks {
  /** How long after its claim a run that was not started is looked at. */
  readonly startWithinMs: DurationMs;
  /** The earliest instant at which a run with these limits, started then, could be judged. Pure. */
  firstCheckAt(startedAt: Instant, limits: RunLimits): Instant;
}

/** A supervisor stops its run at the stage's timeout; the judge looks this much later. */
const timeoutMarginMs = minutes(1);

export const firstChecks: FirstChecks = {
  startWithinMs: seconds(30),
  firstCheckAt: (startedAt, { timeoutMs, heartbeatTimeoutMs, maxRunningMs }) =>
    addMs(
      startedAt,
      Math.min(
        maxRunningMs,
        timeoutMs === undefined ? maxRunningMs : timeoutMs + timeoutMarginMs,
        // It may beat once, at once, and never again.
        heartbeatTimeoutMs === undefined ? maxRunningMs : heartbeatTimeoutMs + 1,
      ),
    ),
};

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
