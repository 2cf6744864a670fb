import type { DurationMs } from "../../domain/time.ts";

interface Waiter {
  readonly resolve: () => void;
  beatsLeft: number;
}

/**
 * One timer for everything a process does each second: waking an idle process costs about as much as the work then done. Its phase is
 * random, so that daemons on one store do not tick in step.
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

  /** Whether a wait of this length is a whole number of beats. */
  keeps(ms: DurationMs): boolean {
    return ms >= this.periodMs && ms % this.periodMs === 0;
  }

  /** Calls back at each beat, before any waits end. Returns a function that unsubscribes. */
  each(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#begin();
    return () => {
      this.#listeners.delete(listener);
      this.#endWhenIdle();
    };
  }

  /** Calls back once, at most `ms` from now and less than one period earlier. Returns a function that cancels. */
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
    // Whoever stopped waiting since the last beat did not stop the timer.
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
