import { messageOf } from "../../domain/errors.ts";
import type { Emit } from "../../telemetry/events.ts";

export interface LoopsWatchOptions {
  /** Says which loops are late. Waits for nothing. */
  readonly checkLate: () => void;
  /** What else is looked at each turn. Each look is apart from the others: one that fails, or does not end, holds up nobody. */
  readonly looks: readonly (() => Promise<void>)[];
  readonly emit: Emit;
}

/**
 * One turn of whoever watches the loops. Lateness comes first and waits for nothing: a disk that does not answer holds up the very loops
 * that are late, and whatever else would have to ask it. A look that is still under way is not begun again.
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
