import type { LoopName } from "../../config/loop-names.ts";
import type { WorkerId } from "../../domain/ids.ts";

/** What loops report beside their counters, by name. Reports that no code reads hold numbers. */
export type LoopReports = { readonly [Name in LoopName]: Name extends keyof ReadReports ? ReadReports[Name] : Counts };

type Counts = Readonly<Record<string, number>>;

/** Reports that other code reads. Names are those of the API. */
interface ReadReports {
  readonly "job-reaper": JobReaperReport;
  readonly stopper: StopperReport;
  readonly "worker-reaper": WorkerReaperReport;
}

/** Under the names that the reaper's operators know (B-61 to B-63). */
export interface JobReaperReport {
  readonly reaped_total: number;
  readonly last_reaped: { readonly job_id: number; readonly agent: string | null; readonly outcome: string } | null;
  readonly lease_reclaimed_total: number;
  /** Number of runs that an earlier tick remembers something about. */
  readonly suspects: number;
}

export interface WorkerReaperReport {
  /** Sessions judged dead. */
  readonly deadTotal: number;
  /** Sessions that are silent while their process lives, a daemon's own handler host not among them. */
  readonly hung: readonly WorkerId[];
}

export interface StopperReport {
  readonly stoppedTotal: number;
  /** Number of runs whose processes are being stopped now. */
  readonly stopping: number;
  /** What the last attempt left, by job. A job that was not tried yet, or that another daemon's stopper handles, is missing. */
  readonly remains: Readonly<Record<number, string>>;
}
