import type { LoopName } from "../../config/loop-names.ts";

/** Where hints for loops are left. It is there before any loop is: a hint that nobody hears is lost, and none is ever needed. */
export class LoopWaker {
  readonly #listeners = new Set<(name: LoopName) => void>();

  /** The loop of this name has something to look at. */
  wake(name: LoopName): void {
    for (const listener of this.#listeners) listener(name);
  }

  /** Returns the way to stop. */
  onWake(listener: (name: LoopName) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
