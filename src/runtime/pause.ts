import { setTimeout as sleep } from "node:timers/promises";
import type { DurationMs } from "../domain/time.ts";

/** Waits that long; resolves early, without an error, when `signal` is aborted. Injected, so that tests step it. */
export type Pause = (ms: DurationMs, signal?: AbortSignal) => Promise<void>;

/** The real one: a timer of the event loop. */
export const timerPause: Pause = async (ms, signal) => {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    // An aborted wait is an early return, not a failure: the caller looks at its signal next.
    if (signal?.aborted !== true) throw error;
  }
};
