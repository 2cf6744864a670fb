import type { DurationMs } from "../../domain/time.ts";

/**
 * How late the event loop runs, measured by a timer that fires anyway, so that it wakes nobody. Worker renewals carry it, to show that a
 * process is busy rather than dead.
 */
export class LoopLag {
  readonly #monoNow: () => number;
  readonly #periodMs: DurationMs;
  #lastBeatMono: number | undefined;
  #worstMs: number | undefined;

  /** @param options.periodMs - Time between two beats that are on time. */
  constructor(options: { readonly monoNow: () => number; readonly periodMs: DurationMs }) {
    this.#monoNow = options.monoNow;
    this.#periodMs = options.periodMs;
  }

  /** The timer calls this. */
  beat(): void {
    const now = this.#monoNow();
    if (this.#lastBeatMono !== undefined) {
      const lateMs = Math.max(0, Math.round(now - this.#lastBeatMono - this.#periodMs));
      this.#worstMs = Math.max(this.#worstMs ?? 0, lateMs);
    }
    this.#lastBeatMono = now;
  }

  /** The worst delay since the last call, in milliseconds; undefined: no beat was due since. */
  take(): DurationMs | undefined {
    const worst = this.#worstMs;
    this.#worstMs = undefined;
    return worst;
  }
}
