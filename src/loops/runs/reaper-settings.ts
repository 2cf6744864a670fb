import type { DurationMs } from "../../domain/time.ts";
import type { RunThresholds } from "../../liveness/run-thresholds.ts";
import type { RunScope } from "../../store/port/runs.ts";

/** What the job-reaper reads at each tick. */
export interface ReaperSettings {
  readonly thresholds: RunThresholds;
  readonly adoption: boolean;
  /** Where more than 100 runs of a host are lost together, the jobs of those beyond come back spread over this long. */
  readonly recoverySpreadMs: DurationMs;
  /** Whose runs it looks at. Absent: everybody's. */
  readonly whose?: RunScope | undefined;
}
