import { messageOf } from "../../domain/errors.ts";
import type { Emit } from "../../telemetry/events.ts";

export interface LoopsWatchOptions {
  /** Reports late loops, without waiting for anything. */
  readonly checkLate: () => void;
  /** Further checks of each turn, apart from each other: one that fails or hangs stops no other. */
  readonly looks: readonly (() => Promise<void>)[];
  readonly emit: Emit;
}

/**
 * One turn of the watch over the loops. Lateness comes first and waits for nothing, because a hanging disk delays both the late loops and
 * every other check. A check still in progress is not started again.
 */
export function createLateLoopsWatch({ checkLate, looks, emit }: LoopsWatchOptions): () => void {
  const underWay = new Set<() => Promise<void>>();
  const take = async (look: () => Promise<void>): Promise<void> => {
    underWay.add(look);
    try {
      await look();
    } catch (thrown) {
      emit("store.degraded", { code: "watch_failed", message: messageOf(thrown) });
    } finally {
      underWay.delete(look);
    }
  };
  return () => {
    checkLate();
    for (const look of looks) if (!underWay.has(look)) void take(look);
  };
}
