import type { ItemId, JobId, RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";

/** The alert for a job that failed or is held. */
export interface JobAlert {
  readonly jobId: JobId;
  /** The run whose end brought the job here; of one that was held while it waited its newest, or null when it has never run. */
  readonly runId: RunId | null;
  readonly state: "failed" | "held";
  readonly queue: string;
  readonly itemId: ItemId | null;
  readonly agent: string | null;
  readonly repo: string | null;
  readonly reason: string;
  readonly message: string | null;
}

/** Its entry in the outbox: one per job and run, written in the transaction of the flip, so that only the flip's winner alerts. */
export function jobAlertEntry(alert: JobAlert, now: Instant): { readonly key: string; readonly payload: string } {
  return {
    key: `job.${alert.state}:${alert.jobId}:${alert.runId ?? "waiting"}`,
    payload: JSON.stringify({ event: `job.${alert.state}`, at: now, ...alert }),
  };
}
