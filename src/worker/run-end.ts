import type { JobId, OwnerEpoch, RunId } from "../domain/ids.ts";
import type { Instant } from "../domain/time.ts";
import type { Settlement } from "../store/port/runs.ts";

/** How a handler's run ended, as its worker saw it. */
export type HandlerEnd =
  | { readonly kind: "returned"; readonly output: string | undefined }
  | { readonly kind: "threw"; readonly message: string; readonly permanent: boolean }
  /** The worker stopped before it ended: handed back, unspent. */
  | { readonly kind: "released"; readonly reason: string }
  | { readonly kind: "timed_out"; readonly afterMs: number };

export interface EndedRun {
  readonly runId: RunId;
  readonly ownerEpoch: OwnerEpoch;
  readonly jobId: JobId;
  readonly queue: string;
  readonly startedAt: Instant;
  /** The store may still hold it as reserved: its start is folded into its end. */
  readonly startUnwritten: boolean;
  readonly end: HandlerEnd;
}

/**
 * Makes the settlement of an ended handler run. Undefined: the run is not ours any more, or settling it went its own way (a gate).
 * May be answered at once, which the hot path depends on, or later.
 */
export type SettleDecision = (ended: EndedRun) => Settlement | Promise<Settlement | undefined>;

const done = Object.freeze({ to: "done" as const });

/** The settlement of a plain task that returned: the only one on the hot path. */
export function plainSuccess(ended: EndedRun, output: string | undefined): Settlement {
  return {
    runId: ended.runId,
    ownerEpoch: ended.ownerEpoch,
    jobId: ended.jobId,
    outcome: "succeeded",
    reason: "returned",
    spend: "attempt",
    then: output === undefined ? done : { to: "done", output },
    ...(ended.startUnwritten ? { startedAt: ended.startedAt } : undefined),
  };
}
