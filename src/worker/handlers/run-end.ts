import type { JobId, OwnerEpoch, RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Settlement, StartRun, Success } from "../../store/port/runs.ts";

/** How a handler's run ended, as its worker saw it. */
export type HandlerEnd =
  | { readonly kind: "returned"; readonly output: string | undefined }
  | { readonly kind: "threw"; readonly message: string; readonly permanent: boolean }
  /** It returned what cannot be kept. */
  | { readonly kind: "bad_output"; readonly why: string }
  /** The worker stopped before it ended: handed back, unspent. */
  | { readonly kind: "released"; readonly reason: string }
  /** Past its stage's timeout it was asked to stop; what it said after that does not count. */
  | { readonly kind: "timed_out"; readonly afterMs: number };

export interface EndedRun {
  readonly runId: RunId;
  readonly ownerEpoch: OwnerEpoch;
  readonly jobId: JobId;
  readonly queue: string;
  readonly startedAt: Instant;
  /** Set when it was claimed as reserved: the store may not have its start yet, which is folded into its end. */
  readonly start: StartRun | undefined;
  /** Its handler ignores that it was asked to stop: the job must not be claimed before the process is proved gone. */
  readonly stillRunning: boolean;
  readonly end: HandlerEnd;
}

/**
 * Makes the settlement of an ended handler run. Undefined: the run is not ours any more, or whoever takes it over will settle it.
 * May be answered at once, which the hot path depends on, or later. A rejection is tried again, so it must be repeatable.
 */
export type SettleDecision = (ended: EndedRun) => Settlement | Promise<Settlement | undefined>;

/** The settlement of a plain task that returned: the only one on the hot path. */
export function plainSuccess(ended: EndedRun, output: string | undefined): Success {
  return {
    runId: ended.runId,
    ownerEpoch: ended.ownerEpoch,
    jobId: ended.jobId,
    outcome: "succeeded",
    reason: "returned",
    output,
    startedAt: ended.start === undefined ? undefined : ended.startedAt,
  };
}
