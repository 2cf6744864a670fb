import type { VisitId } from "../../domain/ids.ts";
import { type JobState, jobLifecycle } from "../../domain/lifecycles/job.ts";
import { isFinal, sourcesOf } from "../../domain/lifecycles/lifecycle.ts";
import type { Instant } from "../../domain/time.ts";
import type { JobNote, StoredJobState } from "../engine/tables.ts";

const notes: readonly JobState[] = ["held", "failed", "cancelled"] satisfies readonly JobNote[];

/**
 * The state and the columns that follow it, which the indexes name. Whoever writes a job's state writes all of them, and keeps `ready`
 * true in the same transaction (ready.ts).
 */
export function columnsOfState(state: StoredJobState, job: { readonly runAt: Instant; readonly visitId: VisitId | null }) {
  return {
    state,
    scheduled_at: state === "scheduled" ? job.runAt : null,
    note: notes.includes(state) ? (state as JobNote) : null,
    open_visit_id: isFinal(jobLifecycle, state) ? null : job.visitId,
  };
}

/** The states from which a verb leads to `to`, for a job without a live run. */
export function waitingSources(verb: string, to: JobState): readonly StoredJobState[] {
  return sourcesOf(jobLifecycle, verb, to).filter((state) => state !== "running");
}

/** What a job is: `running` while it has a live run, and else what its row says. */
export const stateOf = (stored: StoredJobState, hasLiveRun: boolean): JobState => (hasLiveRun ? "running" : stored);
