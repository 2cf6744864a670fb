import { type DurationMs, minutes, seconds } from "../domain/time.ts";

/** Exponential delay with jitter, in milliseconds. */
export interface RetryDelay {
  /** The first delay. 0: never any. Default 1 000. */
  readonly baseMs: DurationMs;
  /** The longest delay. Default 300 000. */
  readonly maxMs: DurationMs;
  /** Each further delay is this many times the one before; at least 1. Default 2. */
  readonly factor?: number | undefined;
}

export const defaultRetryDelay: RetryDelay = { baseMs: seconds(1), maxMs: minutes(5) };

/** A number in [0, 1), from the process's one source of randomness. */
export type Random = () => number;

/**
 * The delay before try `n + 1` after `n` failed ones: grown by the factor each time, and between half of that and all of it.
 *
 * @param jitter - From 0 up to 1.
 */
export function retryDelayMs(failures: number, delay: RetryDelay, jitter: number): DurationMs {
  // Infinity is fine: the maximum bounds it.
  const full = Math.min(delay.maxMs, delay.baseMs * (delay.factor ?? 2) ** Math.max(0, failures - 1));
  return Math.round(full / 2 + (full / 2) * jitter);
}

const spreadBeyond = 100;

/**
 * The additional delay of one of `total` jobs that one event (a host, a session) requeues: none for the first hundred, the rest evenly over
 * `recoverySpreadMs`, so that they do not return in one wave.
 *
 * @param index - 0-based position among the jobs of the event.
 */
export function spreadDelayMs(of: { readonly index: number; readonly total: number; readonly recoverySpreadMs: DurationMs }): DurationMs {
  if (of.index < spreadBeyond) return 0;
  return Math.round((of.recoverySpreadMs * (of.index - spreadBeyond + 1)) / (of.total - spreadBeyond));
}
