import type { JobId, RunId } from "../../domain/ids.ts";
import type { RunOutcome } from "../../domain/lifecycles/run.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { JobReaperReport } from "../skeleton/loop-reports.ts";

/** A run that a reaper has ended, having won the flip. */
export interface ReapedRun {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
  readonly agent: string | null;
  readonly repo: string | null;
  /** The dead process: the command's, or its worker's. Null: not known. */
  readonly pid: number | null;
  readonly jobState: string;
  /** The reason for people. */
  readonly message: string;
}

/**
 * What the reapers of this process have ended (B-61 to B-63): the job-reaper by its verdicts, the worker-reaper with the lost sessions.
 * Counters start at zero with the process and count won flips alone.
 */
export class ReapedRuns {
  readonly #untold = new Map<RunOutcome, number>();
  #total = 0;
  #last: JobReaperReport["last_reaped"] = null;

  snapshot(): Pick<JobReaperReport, "reaped_total" | "last_reaped"> {
    return { reaped_total: this.#total, last_reaped: this.#last };
  }

  /** Counts it, and emits one warning. */
  add(run: ReapedRun, emit: Emit): void {
    this.#count(run);
    const { runId, jobId, queue, agent, repo, pid, jobState, message } = run;
    emit("run.reaped", { runId, jobId, queue, agent, repo, pid, outcome: jobState, reason: message });
  }

  /** Counts it without a warning of its own, because the event has too many; {@link ReapedRuns.tellOfRest} must follow. */
  addOneOfMany(run: Pick<ReapedRun, "jobId" | "agent" | "jobState"> & { readonly outcome: RunOutcome }): void {
    this.#count(run);
    this.#untold.set(run.outcome, (this.#untold.get(run.outcome) ?? 0) + 1);
  }

  /** One warning per outcome, for all runs without a warning of their own. */
  tellOfRest(why: { readonly reason: string; readonly actor: string }, emit: Emit): void {
    for (const [outcome, count] of this.#untold) emit("runs.reaped", { count, outcome, ...why });
    this.#untold.clear();
  }

  #count({ jobId, agent, jobState }: Pick<ReapedRun, "jobId" | "agent" | "jobState">): void {
    this.#total++;
    this.#last = { job_id: jobId, agent, outcome: jobState };
  }
}
