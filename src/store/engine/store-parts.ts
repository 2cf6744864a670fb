import type { ClockDoubt } from "../port/clock-doubt.ts";
import type { Engine } from "./engine.ts";
import type { HintBoard } from "./hint-board.ts";
import type { HotVerbs } from "./hot-verbs.ts";

/** What an engine opens; `assemble-store.ts` makes a store of it. */
export interface StoreParts {
  readonly engine: Engine;
  readonly hints: HintBoard;
  readonly hot: HotVerbs;
  /** Absent: the store's clock is this host's, and never in doubt here. */
  readonly onClockDoubt?: ((listener: (doubt: ClockDoubt) => void) => () => void) | undefined;
  /** Closes connections and gives locks back, after the last commit. */
  release(): Promise<void>;
}
