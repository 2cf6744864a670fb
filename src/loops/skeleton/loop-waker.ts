import type { LoopName } from "../../config/loop-names.ts";

/** Passes hints to loops. It exists before any loop: a hint without a listener is lost, and none is ever needed. */
export class LoopWaker {
  readonly #listeners = new Set<(name: LoopName) => void>();

  /** Hints that the loop of this name has work. */
  wake(name: LoopName): void {
    for (const listener of this.#listeners) listener(name);
  }

  /** Returns a function that unsubscribes. */
  onWake(listener: (name: LoopName) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
