import type { DurationMs } from "../../domain/time.ts";

interface Waiter {
  readonly resolve: () => void;
  beatsLeft: number;
}

/**
 * One timer for all that a process does every second. Each wake-up of an idle process costs about as much as what it then does, so its
 * loops wake together. Where in the second that is is left to chance, once per process: daemons on one store do not look at it in step.
 */
export class Pulse {
  readonly periodMs: DurationMs;
  readonly #random: () => number;
  readonly #waiting = new Set<Waiter>();
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { readonly periodMs: DurationMs; readonly random: () => number }) {
    this.periodMs = options.periodMs;
    this.#random = options.random;
  }

  /** Whether waits of this length can be counted in beats. */
  keeps(ms: DurationMs): boolean {
    return ms >= this.periodMs && ms % this.periodMs === 0;
  }

  /** Calls back at each beat, before those that wait. Returns the way to stop. */
  each(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#begin();
    return () => {
      this.#listeners.delete(listener);
      this.#endWhenIdle();
    };
  }

  /** Calls back once, `ms` from now at the latest and less than a period before that. Returns the way to wait no longer. */
  after(ms: DurationMs, resolve: () => void): () => void {
    const waiter: Waiter = { resolve, beatsLeft: ms / this.periodMs };
    this.#waiting.add(waiter);
    this.#begin();
    return () => {
      this.#waiting.delete(waiter);
      this.#endWhenIdle();
    };
  }

  #begin(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = setInterval(this.#beat, this.periodMs).unref();
      this.#beat();
    }, this.#random() * this.periodMs).unref();
  }

  #endWhenIdle(): void {
    if (this.#listeners.size > 0 || this.#waiting.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #beat = (): void => {
    // Those that were called at the last beat and did not come back left no other trace.
    this.#endWhenIdle();
    for (const listener of this.#listeners) listener();
    const due: Waiter[] = [];
    for (const waiter of this.#waiting) {
      waiter.beatsLeft -= 1;
      if (waiter.beatsLeft <= 0) due.push(waiter);
    }
    for (const waiter of due) {
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  };
}
