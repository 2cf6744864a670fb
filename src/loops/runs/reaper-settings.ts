import type { DurationMs } from "../../domain/time.ts";
import type { RunThresholds } from "../../liveness/run-thresholds.ts";
import type { RunScope } from "../../store/port/runs.ts";

/** What the job-reaper reads at each tick. */
export interface ReaperSettings {
  readonly thresholds: RunThresholds;
  readonly adoption: boolean;
  /** The time over which jobs come back, beyond the first 100, when a host loses more runs than that together. */
  readonly recoverySpreadMs: DurationMs;
  /** Whose runs it judges. Absent: everybody's. */
  readonly whose?: RunScope | undefined;
}
