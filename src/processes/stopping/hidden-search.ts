import type { DurationMs } from "../../domain/time.ts";
import type { OpenFiles } from "../probe/open-files.ts";
import { lookAtPipe, type PipeSight } from "./pipe-holders.ts";
import type { RunTree } from "./strays.ts";

/** The search takes at most a twentieth of the time: a walk through all open files is a load on a host with many. */
const shareOfTime = 20;
const leastPauseMs: DurationMs = 1000;

/**
 * Searches for what holds a run's life pipe while nothing else of the run is seen. Not at first sight: a wrapper that has just ended gives
 * its pipe back in the same moment.
 */
export class HiddenSearch {
  readonly #tree: RunTree;
  readonly #at: { readonly runDir: string; readonly files: OpenFiles; readonly mono: () => number };
  #expected = false;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(tree: RunTree, at: { readonly runDir: string; readonly files: OpenFiles; readonly mono: () => number }) {
    this.#tree = tree;
    this.#at = at;
  }

  /** Call it in each look that finds only the pipe held. Answers what a search has found, if there was one. */
  look(): PipeSight | undefined {
    const { mono } = this.#at;
    if (!this.#expected) {
      this.#expected = true;
      return undefined;
    }
    const beganAt = mono();
    if (beganAt < this.#notBefore) return undefined;
    const sight = this.lookNow();
    const endedAt = mono();
    this.#notBefore = endedAt + Math.max(leastPauseMs, (endedAt - beganAt) * shareOfTime);
    return sight;
  }

  lookNow(): PipeSight {
    return lookAtPipe(this.#tree, this.#at);
  }
}
