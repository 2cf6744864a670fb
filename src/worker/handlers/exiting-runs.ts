import { messageOf } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { ClaimedWork, EndReport } from "../worker-backend.ts";
import type { GatedExits } from "./handler-worker-options.ts";

export interface ExitingRunsOptions {
  /** Absent: no stage of this worker has a gate. */
  readonly exits: GatedExits | undefined;
  readonly session: () => WorkerId;
  /** Its output is kept, so its return may be reported. */
  readonly onKept: (report: EndReport) => void;
  /** A run that was read is over for this worker. */
  readonly onOver: () => void;
  readonly emit: Emit;
  /** First delay before a failed step is repeated; doubled up to 10 s. Default 100. */
  readonly retryMs?: DurationMs | undefined;
}

/**
 * Runs of stages with a gate, from their return to their end. Failed steps are repeated: while this session lives nobody else would end
 * them.
 */
export class ExitingRuns {
  readonly #options: ExitingRunsOptions;
  readonly #runs = new Map<RunId, ClaimedWork>();

  constructor(options: ExitingRunsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#runs.size;
  }

  has(runId: RunId): boolean {
    return this.#runs.has(runId);
  }

  ids(): Iterable<RunId> {
    return this.#runs.keys();
  }

  drop(runId: RunId): void {
    this.#runs.delete(runId);
  }

  /** Repeats nothing from now on. Answers the runs that were not over, and forgets them. */
  giveUp(): readonly RunId[] {
    const left = [...this.#runs.keys()];
    this.#runs.clear();
    return left;
  }

  /** Keeps the output before the exit is on record, so that who takes over finds it. */
  returned(report: EndReport, claimed: ClaimedWork, output: string | undefined): void {
    this.#runs.set(claimed.runId, claimed);
    if (output === undefined) this.#options.onKept(report);
    else this.#keep(report, output, 0);
  }

  /** Its exit is on record; the next step waits for the reading of what it left. */
  read(runId: RunId, tries = 0): void {
    const { exits, session, onOver } = this.#options;
    const claimed = this.#runs.get(runId);
    if (claimed === undefined || exits === undefined) return;
    exits.report(session(), claimed).then(
      () => {
        if (this.#runs.delete(runId)) onOver();
      },
      (thrown: unknown) => this.#later(runId, tries, thrown, () => this.read(runId, tries + 1)),
    );
  }

  #keep(report: EndReport, output: string, tries: number): void {
    const { exits, onKept } = this.#options;
    const kept = exits?.save(report.runId, output) ?? Promise.reject(new Error("nothing reads the gates of this worker"));
    kept.then(
      () => onKept(report),
      (thrown: unknown) => this.#later(report.runId, tries, thrown, () => this.#keep(report, output, tries + 1)),
    );
  }

  #later(runId: RunId, tries: number, thrown: unknown, again: () => void): void {
    if (!this.#runs.has(runId)) return;
    const { emit, retryMs = 100 } = this.#options;
    emit("store.degraded", { code: "settle_failed", message: `run ${runId}: ${messageOf(thrown)}` });
    setTimeout(() => this.#runs.has(runId) && again(), Math.min(10_000, retryMs * 2 ** Math.min(20, tries))).unref();
  }
}
