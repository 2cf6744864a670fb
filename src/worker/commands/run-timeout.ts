import type { DurationMs, Instant } from "../../domain/time.ts";

/** How soon a look that failed is tried again. */
const againMs: DurationMs = 1000;

export interface RunTimeoutOptions {
  readonly timeoutMs: DurationMs;
  readonly startedAt: Instant;
  readonly now: () => Instant;
  /** Resolves to how long it may still run: its host has slept, which does not count. Undefined: it is over. */
  readonly onTimeout: (afterMs: DurationMs) => Promise<DurationMs | undefined>;
  /** The store did not answer. It is tried again; the job-reaper's own, later look catches what this timer leaves. */
  readonly onFailure: (thrown: unknown) => void;
}

/** Tells when a run has been at work for longer than its stage's timeout; time in which its host slept does not count. */
export class RunTimeout {
  readonly #options: RunTimeoutOptions;
  #timer: NodeJS.Timeout | undefined;
  #cancelled = false;

  constructor(options: RunTimeoutOptions) {
    this.#options = options;
    this.#in(options.timeoutMs - (options.now() - options.startedAt));
  }

  cancel(): void {
    this.#cancelled = true;
    clearTimeout(this.#timer);
  }

  #in(ms: DurationMs): void {
    // Node's timers end at 2^31 ms; a longer timeout is the reaper's alone.
    if (this.#cancelled || ms >= 2 ** 31 - 1) return;
    this.#timer = setTimeout(
      () => {
        this.#look().catch((thrown: unknown) => {
          this.#options.onFailure(thrown);
          this.#in(againMs);
        });
      },
      Math.max(0, ms),
    );
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { timeoutMs, startedAt, now, onTimeout } = this.#options;
    const afterMs = now() - startedAt;
    // Node's timer and the store's clock need not agree to the millisecond.
    const leftMs = afterMs < timeoutMs ? timeoutMs - afterMs : await onTimeout(afterMs);
    if (leftMs !== undefined) this.#in(leftMs);
  }
}
