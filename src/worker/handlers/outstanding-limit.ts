/** Over how long a worker may reserve ahead: longer delays urgent jobs that arrive behind, shorter costs a commit more often. */
const reserveAheadMs = 100;
const windowMs = 50;

/**
 * How many jobs a worker should hold at once: its concurrency, and as many more as it ends within {@link reserveAheadMs}.
 * Slow handlers therefore reserve nothing ahead, and what a crash may repeat stays small.
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
    // A full batch that ended faster than a window says as much as a window.
    if (elapsedMs < windowMs && this.#ended < this.value) return;
    // Rounded down: one job held behind a handler of an hour would wait that hour, whoever else is free.
    this.#ahead = Math.min(this.#max, Math.floor((this.#ended / Math.max(elapsedMs, 0.1)) * reserveAheadMs));
    this.#ended = 0;
    this.#windowStartedAt = monoNow;
  }
}
