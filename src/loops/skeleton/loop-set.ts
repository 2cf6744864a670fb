import type { LoopName } from "../../config/loop-names.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { Store, StoreHint } from "../../store/port/store.ts";
import type { LoopSnapshot, TickReport } from "./loop.ts";
import type { LoopRunner } from "./loop-runner.ts";

/** Which loops look early at which change. A hint is never needed: every loop also ticks by itself. */
const wokenBy: Readonly<Partial<Record<StoreHint, readonly LoopName[]>>> = {
  blocked: ["stopper"],
  outbox: ["outbox"],
  scheduled: ["scheduler"],
  workers: ["worker-reaper"],
  leases: ["job-reaper"],
};

/** All loops of one process: started, woken, shown and stopped together. */
export class LoopSet {
  readonly #runners: ReadonlyMap<LoopName, LoopRunner>;
  #stopListening: (() => void) | undefined;

  constructor(runners: readonly LoopRunner[]) {
    this.#runners = new Map(runners.map((runner) => [runner.loop.name, runner]));
    // Two loops of one name would repair the same things twice, and one of them unseen.
    if (this.#runners.size !== runners.length) throw new Error("Two loops have the same name.");
  }

  start(store: Pick<Store, "onHint">): void {
    for (const runner of this.#runners.values()) runner.start();
    this.#stopListening ??= store.onHint((hint) => {
      for (const name of wokenBy[hint] ?? []) this.wake(name);
    });
  }

  wake(name: LoopName): void {
    this.#runners.get(name)?.wake();
  }

  /** Raises an alert for each loop whose tick does not end. */
  checkLate(): void {
    for (const runner of this.#runners.values()) runner.checkLate();
  }

  snapshots(): readonly LoopSnapshot[] {
    return [...this.#runners.values()].map((runner) => runner.snapshot());
  }

  async runOnce(name: LoopName, options: { readonly dryRun: boolean }): Promise<TickReport | undefined> {
    return this.#runners.get(name)?.tickOnce(options);
  }

  async stop(timeoutMs: DurationMs): Promise<void> {
    this.#stopListening?.();
    this.#stopListening = undefined;
    await Promise.all([...this.#runners.values()].map((runner) => runner.stop(timeoutMs)));
  }
}
