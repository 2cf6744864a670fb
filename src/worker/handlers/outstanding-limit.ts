/** How far ahead a worker may reserve: longer delays urgent jobs that arrive behind, shorter costs more commits. */
const reserveAheadMs = 100;
const windowMs = 50;

/**
 * How many jobs a worker should hold: its concurrency, and as many more as it ends within {@link reserveAheadMs}. Slow handlers so reserve
 * nothing ahead, and a crash repeats little.
 */
export class OutstandingLimit {
  readonly #concurrency: number;
  readonly #max: number;
  #ahead = 0;
  #ended = 0;
  #windowStartedAt: number;

  constructor(options: { readonly concurrency: number; readonly max: number; readonly monoNow: number }) {
    this.#concurrency = options.concurrency;
    this.#max = Math.max(options.max, options.concurrency);
    this.#windowStartedAt = options.monoNow;
  }

  get value(): number {
    return Math.min(this.#max, this.#concurrency + this.#ahead);
  }

  /** `count` runs ended at `monoNow` (monotonic milliseconds). */
  ended(count: number, monoNow: number): void {
    this.#ended += count;
    const elapsedMs = monoNow - this.#windowStartedAt;
    // A full batch that ended faster than a window is as good a measure.
    if (elapsedMs < windowMs && this.#ended < this.value) return;
    // Rounded down: one job held behind a handler of an hour would wait that hour, whoever else is free.
    this.#ahead = Math.min(this.#max, Math.floor((this.#ended / Math.max(elapsedMs, 0.1)) * reserveAheadMs));
    this.#ended = 0;
    this.#windowStartedAt = monoNow;
  }
}
