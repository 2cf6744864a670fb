import { ExitReader, type ExitReaderDeps } from "../gates/exit-reader.ts";
import type { ItemsStore } from "../store/port/items.ts";
import type { LiveRun } from "../store/port/runs.ts";
import { type DecidingOptions, ExitDecider, type ExitDeciderDeps, type ExitDecision } from "./exit-decider.ts";

export interface FinaliserDeps extends ExitReaderDeps, Omit<ExitDeciderDeps, "versions"> {
  readonly items: Pick<ItemsStore, "get"> & ExitDeciderDeps["versions"];
}

/** What became of finalising a run whose exit is on record. */
export type Finalised = Exclude<ExitDecision, { readonly kind: "read_gate" }>;

/**
 * Reads what a run of this host left, and decides what follows from its exit. Read-only, so it may be done again by whoever takes over.
 */
export class Finaliser {
  readonly #items: FinaliserDeps["items"];
  readonly #now: FinaliserDeps["now"];
  readonly #reader: ExitReader;
  readonly #decider: ExitDecider;

  constructor(deps: FinaliserDeps) {
    this.#items = deps.items;
    this.#now = deps.now;
    this.#reader = new ExitReader(deps);
    this.#decider = new ExitDecider({ ...deps, versions: deps.items });
  }

  /** @param run - exited, with its exit code. */
  async finalise(run: LiveRun, options: DecidingOptions & { readonly signal: AbortSignal }): Promise<Finalised> {
    const output = run.exitCode === 0 ? await this.#reader.output(run.id) : ({ kind: "none" } as const);
    const first = await this.#decider.decide(run, { output, gate: { kind: "not_read" } }, options);
    if (first.kind !== "read_gate") return first;
    const { itemId } = run;
    const gated = { ...run, runId: run.id, item: async () => (itemId === null ? undefined : await this.#items.get(itemId)) };
    const begunAt = this.#now();
    const gate = await this.#reader.gate(gated, first.stage, options.signal);
    const decision = await this.#decider.decide(run, { output, gate, begunAt }, options);
    if (decision.kind === "read_gate") throw new Error(`The gate of run ${run.id} was asked for after it had been read.`);
    return decision;
  }

  /** Whether what a run started may outlive it: as its stage says, also where that is told by a stored version alone. */
  async leavesStrays(run: LiveRun): Promise<boolean> {
    return await this.#decider.leavesStrays(run);
  }
}
