import { asJobId, type JobId } from "../../domain/ids.ts";
import type { LoopSnapshot } from "../skeleton/loop.ts";

/**
 * What the stopper found left of the runs that it could not stop, out of its snapshot. Answers null for a job that it has not tried yet, or
 * that another daemon's stopper looks after.
 */
export function remainsOf(snapshots: readonly LoopSnapshot[]): (jobId: JobId) => string | null {
  const { remains } = snapshots.find(({ name }) => name === "stopper")?.details ?? {};
  const found = new Map<JobId, string>();
  if (typeof remains === "object" && remains !== null) {
    for (const [jobId, text] of Object.entries(remains)) if (typeof text === "string") found.set(asJobId(Number(jobId)), text);
  }
  return (jobId) => found.get(jobId) ?? null;
}
