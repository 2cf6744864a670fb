import type { Instant } from "../../domain/time.ts";

/** How often the server's clock is looked at again. */
const sampleEveryMs = 30_000;

export interface ServerClockOptions {
  /** Asks the server for its time, epoch milliseconds. */
  readonly sample: () => Promise<number>;
  /** Monotonic milliseconds of this host. */
  readonly mono: () => number;
}

/**
 * Estimates the server's clock between two looks at it, by this host's monotonic clock. It never goes backwards: where a look shows that it
 * ran ahead, it stands still (decision 0009).
 */
export class ServerClock {
  readonly #options: ServerClockOptions;
  #offsetMs = 0;
  #last = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ServerClockOptions) {
    this.#options = options;
  }

  /** The first look; without it there is no time to answer. */
  async start(): Promise<void> {
    await this.look();
    this.#timer = setInterval(() => {
      // A server that does not answer leaves the estimate running; the next look corrects it, and every statement tells of the failure.
      this.look().catch(() => undefined);
    }, sampleEveryMs);
    this.#timer.unref();
  }

  async look(): Promise<void> {
    const before = this.#options.mono();
    const server = await this.#options.sample();
    const after = this.#options.mono();
    // The server read its clock somewhere between the two; the middle is wrong by half the round trip at most.
    this.#offsetMs = server - (before + after) / 2;
  }

  now(): Instant {
    this.#last = Math.max(this.#last, Math.floor(this.#options.mono() + this.#offsetMs));
    return this.#last as Instant;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
