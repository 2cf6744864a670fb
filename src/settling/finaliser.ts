import type { Instant } from "../domain/time.ts";
import type { ResultReader } from "../gates/result-reader.ts";
import type { ItemsStore } from "../store/port/items.ts";
import type { LiveRun } from "../store/port/runs.ts";
import type { DecidingOptions, ExitDecider, ExitDecision } from "./exit-decider.ts";

export interface FinaliserDeps {
  readonly items: Pick<ItemsStore, "get">;
  readonly reader: ResultReader;
  readonly decider: ExitDecider;
  readonly now: () => Instant;
}

/** What became of finalising a run whose exit is on record. */
export type Finalised = Exclude<ExitDecision, { readonly kind: "read_gate" }>;

/**
 * Reads what a run of this host left, and decides what follows from its exit. Read-only, so it may be done again by whoever takes over.
 */
export class Finaliser {
  readonly #deps: FinaliserDeps;

  constructor(deps: FinaliserDeps) {
    this.#deps = deps;
  }

  /** @param run - exited, with its exit code. */
  async finalise(run: LiveRun, options: DecidingOptions & { readonly signal: AbortSignal }): Promise<Finalised> {
    const { items, reader, decider, now } = this.#deps;
    const { exitCode } = run;
    const output = await reader.output({ ...run, runId: run.id }, await decider.stageOf(run));
    const endedBy = exitCode === null || exitCode === 0 ? undefined : await reader.endedBy(run.id);
    const first = await decider.decide(run, { endedBy, output, gate: { kind: "not_read" } }, options);
    if (first.kind !== "read_gate") return first;
    const { itemId } = run;
    const gated = { ...run, runId: run.id, item: async () => (itemId === null ? undefined : await items.get(itemId)) };
    const begunAt = now();
    const gate = await reader.gate(gated, first.stage, options.signal);
    const decision = await decider.decide(run, { output, gate, begunAt }, options);
    if (decision.kind === "read_gate") throw new Error(`The gate of run ${run.id} was asked for after it had been read.`);
    return decision;
  }

  /** Whether what a run started may outlive it, as its stage says; a stored version counts too. */
  async leavesStrays(run: LiveRun): Promise<boolean> {
    return await this.#deps.decider.leavesStrays(run);
  }
}
