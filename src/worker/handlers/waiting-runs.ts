import type { RunId } from "../../domain/ids.ts";
import type { ClaimedWork } from "../worker-backend.ts";

/** Claimed runs that have not begun, first come first served. Taking one costs the same however many wait. */
export class WaitingRuns {
  #runs: ClaimedWork[] = [];
  #head = 0;

  get empty(): boolean {
    return this.#head === this.#runs.length;
  }

  add(runs: readonly ClaimedWork[]): void {
    for (const run of runs) this.#runs.push(run);
  }

  next(): ClaimedWork | undefined {
    if (this.empty) return undefined;
    const run = this.#runs[this.#head++];
    if (this.empty) this.takeAll();
    return run;
  }

  /** Answers whether it waited. */
  remove(runId: RunId): boolean {
    const at = this.#runs.findIndex((run, index) => index >= this.#head && run.runId === runId);
    if (at !== -1) this.#runs.splice(at, 1);
    return at !== -1;
  }

  takeAll(): readonly ClaimedWork[] {
    const waiting = this.#runs.slice(this.#head);
    this.#runs = [];
    this.#head = 0;
    return waiting;
  }

  *ids(): Generator<RunId> {
    for (let at = this.#head; at < this.#runs.length; at++) {
      const run = this.#runs[at];
      if (run !== undefined) yield run.runId;
    }
  }
}
