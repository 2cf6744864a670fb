import type { StoreHint } from "../port/store.ts";

/**
 * Tells listeners early that something changed. Hints of one turn are collected and told once, after the caller's own continuation: a
 * listener can neither delay nor fail the commit that it hears of.
 */
export class HintBoard {
  readonly #listeners = new Set<(hint: StoreHint) => void>();
  readonly #pending = new Set<StoreHint>();

  post(hints: Iterable<StoreHint>): void {
    if (this.#listeners.size === 0) return;
    const idle = this.#pending.size === 0;
    for (const hint of hints) this.#pending.add(hint);
    if (idle && this.#pending.size > 0) queueMicrotask(() => this.#tell());
  }

  listen(listener: (hint: StoreHint) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  clear(): void {
    this.#listeners.clear();
    this.#pending.clear();
  }

  #tell(): void {
    const hints = [...this.#pending];
    this.#pending.clear();
    for (const hint of hints) {
      for (const listener of this.#listeners) listener(hint);
    }
  }
}
