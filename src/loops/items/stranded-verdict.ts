import type { StrandedItem } from "../../store/port/items.ts";
import type { LiveRun } from "../../store/port/runs.ts";

/** What to do about an active item whose visit has no unfinished job. */
export type StrandedVerdict =
  /** A run of this visit ended well and the item stayed behind: read the gate, then move it on. */
  | { readonly kind: "read_gate"; readonly run: LiveRun; readonly reason: string }
  /** Nothing of this visit has finished: give it a job again, within its budget. */
  | { readonly kind: "redrive"; readonly reason: string }
  /** Its job ended for good: the item ends the same way. */
  | { readonly kind: "end"; readonly state: "failed" | "cancelled"; readonly reason: string }
  /** Only a person can tell what is right. */
  | { readonly kind: "alert"; readonly reason: string };

/**
 * Judges a stranded item by its last job and run. Pure. A stage is only ever passed on a run of *this* visit: jobs and runs of earlier
 * visits say nothing of it.
 */
export function judgeStranded(stranded: StrandedItem): StrandedVerdict {
  const { visit } = stranded;
  const job = stranded.lastJob?.visitId === visit.id ? stranded.lastJob : undefined;
  const run = job !== undefined && stranded.lastRun?.jobId === job.id ? stranded.lastRun : undefined;
  if (job === undefined) return { kind: "redrive", reason: "its visit has no job" };
  switch (job.state) {
    case "failed":
    case "cancelled":
      return { kind: "end", state: job.state, reason: `its job ${job.id} is ${job.state}${job.error === null ? "" : `: ${job.error}`}` };
    case "done":
      if (run?.state === "ended" && run.outcome === "succeeded") {
        return {
          kind: "read_gate",
          run: asLive(stranded, { job, run }),
          reason: `attempt ${run.attempt} ended well and the item stayed in ${visit.stage}`,
        };
      }
      // A job that is done without a run of its own proves nothing about the stage.
      return { kind: "redrive", reason: `its job ${job.id} is done, and no run of this visit that ended well is on record` };
    case "returned":
      // The transaction that returns a job moves its item too, so an item that stayed behind says nothing about where it should go.
      return { kind: "redrive", reason: `its job ${job.id} was returned, and the item stayed in ${visit.stage}` };
    case "scheduled":
    case "queued":
    case "running":
    case "held":
      return { kind: "alert", reason: `it was listed as stranded, and its job ${job.id} is ${job.state}` };
  }
}

type JobAndRun = { readonly [Key in "job" | "run"]: NonNullable<StrandedItem[Key extends "job" ? "lastJob" : "lastRun"]> };

/** The run as if it had just exited, with what finalising needs of its item. */
function asLive({ item, visit }: StrandedItem, { job, run }: JobAndRun): LiveRun {
  return {
    ...run,
    queue: job.queue,
    attempts: visit.attempts,
    maxAttempts: visit.maxAttempts,
    itemId: item.id,
    visitId: visit.id,
    itemStage: item.stage,
    itemVisitId: item.visitId,
    pipeline: item.pipeline,
    pipelineVersion: item.pipelineVersion,
    agent: job.agent,
    repo: job.repo,
    supervisor: null,
  };
}
