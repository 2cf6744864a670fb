import type { LoopName } from "../../config/loop-names.ts";

/** What loops tell of themselves beside their counters, by name. Those that nothing else reads tell numbers. */
export type LoopReports = { readonly [Name in LoopName]: Name extends keyof ReadReports ? ReadReports[Name] : Counts };

type Counts = Readonly<Record<string, number>>;

/** Reports that other code reads. Names are those of the wire. */
interface ReadReports {
  readonly "job-reaper": JobReaperReport;
  readonly stopper: StopperReport;
}

/** Under the names that the reaper's operators know (B-61 to B-63). */
export interface JobReaperReport {
  readonly reaped_total: number;
  readonly last_reaped: { readonly job_id: number; readonly agent: string | null; readonly outcome: string } | null;
  readonly lease_reclaimed_total: number;
  /** Runs of which an earlier tick remembers something. */
  readonly suspects: number;
}

export interface StopperReport {
  readonly stoppedTotal: number;
  /** Runs whose processes are being stopped now. */
  readonly stopping: number;
  /** By job: what the last try has left. None of a job that was not tried yet, or that another daemon's stopper looks after. */
  readonly remains: Readonly<Record<number, string>>;
}
