import { asInstant, type Instant } from "../../domain/time.ts";

/** The store's clock in a process without the store: the newest answer's instant, carried on by the monotonic clock. Never goes back. */
export class StoreTime {
  readonly #mono: () => number;
  #base: number;
  #baseMono: number;
  #last = 0;

  constructor(options: { readonly now: Instant; readonly mono: () => number }) {
    this.#mono = options.mono;
    this.#base = options.now;
    this.#baseMono = options.mono();
  }

  sync(now: number): void {
    this.#base = now;
    this.#baseMono = this.#mono();
  }

  now(): Instant {
    this.#last = Math.max(this.#last, Math.floor(this.#base + this.#mono() - this.#baseMono));
    return asInstant(this.#last);
  }
}
