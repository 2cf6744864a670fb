import type { DurationMs, Instant } from "../../domain/time.ts";

/** How soon a failed look is repeated. */
const againMs: DurationMs = 1000;

export interface RunTimeoutOptions {
  readonly timeoutMs: DurationMs;
  readonly startedAt: Instant;
  readonly now: () => Instant;
  /** Resolves to how long the run may go on, because its host slept. Undefined: it is over. */
  readonly onTimeout: (afterMs: DurationMs) => Promise<DurationMs | undefined>;
  /** The store did not answer. The look is repeated; the job-reaper catches later what this timer misses. */
  readonly onFailure: (thrown: unknown) => void;
}

/** Reports when a run has been awake for longer than its stage's timeout. */
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
    // Node's timers end at 2^31 ms. Longer timeouts are left to the reaper.
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
    // Node's timer and the store's clock may differ by a millisecond.
    const leftMs = afterMs < timeoutMs ? timeoutMs - afterMs : await onTimeout(afterMs);
    if (leftMs !== undefined) this.#in(leftMs);
  }
}
