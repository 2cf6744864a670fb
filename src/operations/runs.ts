import { WakefulError } from "../domain/errors.ts";
import type { RunId } from "../domain/ids.ts";
import type { RunRow } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";

export interface RunOperationsOptions {
  readonly store: Pick<Store, "runs" | "jobs" | "now">;
  readonly emit: Emit;
}

/** What a run may say of itself while it is at work. */
export class RunOperations {
  readonly #store: RunOperationsOptions["store"];
  readonly #emit: Emit;

  constructor({ store, emit }: RunOperationsOptions) {
    this.#store = store;
    this.#emit = emit;
  }

  /** Throws `not_found` when there is no such run. */
  async existing(id: RunId): Promise<RunRow> {
    const run = await this.#store.runs.get(id);
    if (run === undefined) throw new WakefulError("not_found", `There is no run ${id}.`, { details: { runId: id } });
    return run;
  }

  /** A sign of life, with what the run says of its progress. Throws `conflict` when the run has ended. */
  async beat(runId: RunId, progress?: unknown): Promise<void> {
    const run = await this.existing(runId);
    const { runs, jobs } = this.#store;
    const at = this.#store.now();
    const lost = await runs.beat([{ runId, at, progress: progress === undefined ? undefined : JSON.stringify(progress) }]);
    if (lost.includes(runId))
      throw new WakefulError("conflict", `Run ${runId} has ended: stop.`, { details: { runId, outcome: run.outcome } });
    if (progress === undefined) return;
    const job = await jobs.get(run.jobId);
    if (job !== undefined) this.#emit("run.progressed", { runId, jobId: run.jobId, queue: job.queue, progress });
  }
}
