import { messageOf } from "../../domain/errors.ts";
import { type DurationMs, seconds } from "../../domain/time.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { LoopSet } from "./loop-set.ts";
import type { Pulse } from "./pulse.ts";

export interface LoopsWatchOptions {
  readonly set: Pick<LoopSet, "start" | "stop" | "checkLate">;
  readonly pulse: Pick<Pulse, "each">;
  /** Told of each beat, to measure how late it is. */
  readonly lag: { readonly beat: () => void };
  /** Further checks of each turn, apart from each other: one that fails or hangs stops no other. */
  readonly looks: readonly (() => Promise<void>)[];
  readonly emit: Emit;
}

const loopStopMs: DurationMs = seconds(5);

/**
 * Starts, watches and stops the loops of a process. In each turn lateness comes first and waits for nothing, because a hanging disk delays
 * late loops and every other check alike. A check still in progress is not started again.
 */
export class LoopsWatch {
  readonly #options: LoopsWatchOptions;
  readonly #underWay = new Set<() => Promise<void>>();
  #stopLooking: (() => void) | undefined;

  constructor(options: LoopsWatchOptions) {
    this.#options = options;
  }

  /** Stays true after the stop. */
  get hasStarted(): boolean {
    return this.#stopLooking !== undefined;
  }

  /** The first turn is at once: the first beat may be a period away, and nothing should be claimed on a full disk until then. */
  start(store: Pick<Store, "onHint">): void {
    const { set, pulse, lag } = this.#options;
    this.#look();
    this.#stopLooking = pulse.each(() => {
      lag.beat();
      this.#look();
    });
    set.start(store);
  }

  /** Resolves when no loop ticks any more, or after five seconds. */
  async stop(): Promise<void> {
    this.#stopLooking?.();
    await this.#options.set.stop(loopStopMs);
  }

  #look(): void {
    const { set, looks } = this.#options;
    set.checkLate();
    for (const look of looks) if (!this.#underWay.has(look)) void this.#take(look);
  }

  async #take(look: () => Promise<void>): Promise<void> {
    this.#underWay.add(look);
    try {
      await look();
    } catch (thrown) {
      this.#options.emit("store.degraded", { code: "watch_failed", message: messageOf(thrown) });
    } finally {
      this.#underWay.delete(look);
    }
  }
}
