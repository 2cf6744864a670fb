import type { Engine } from "./engine.ts";
import type { HintBoard } from "./hint-board.ts";
import type { HotVerbs } from "./hot-verbs.ts";

/** What an engine opens; `assemble-store.ts` makes a store of it. */
export interface StoreParts {
  readonly engine: Engine;
  readonly hints: HintBoard;
  readonly hot: HotVerbs;
  /** Closes connections and gives locks back, after the last commit. */
  release(): Promise<void>;
}
