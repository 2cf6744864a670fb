import { addMs, type DurationMs, type Instant } from "../../domain/time.ts";
import type { ClockDoubt } from "../port/clock-doubt.ts";

/** How often the server's clock is looked at again. */
const sampleEveryMs: DurationMs = 30_000;
/** An answer that took longer tells too little of the server's time: the estimate would be wrong by up to half of it. */
const roundTripMaxMs: DurationMs = 250;
/** The first look is repeated so often for a short round trip; then the shortest one has to do. */
const firstLooksMax = 5;
/** A look that moves the estimate by more is a step of the server's clock: no two monotonic clocks drift apart so far in half a minute. */
const stepMs: DurationMs = 1000;

/** One answer of the server, between two readings of this host's monotonic clock that lie right around the statement. */
export interface ServerTime {
  readonly beforeMono: number;
  /** Epoch milliseconds. */
  readonly server: number;
  readonly afterMono: number;
}

export interface ServerClockOptions {
  readonly sample: () => Promise<ServerTime>;
  /** Monotonic milliseconds of this host. */
  readonly mono: () => number;
}

/**
 * Estimates the server's clock between two looks at it, by this host's monotonic clock. It never goes backwards: where a look shows that it
 * ran ahead, it stands still (decision 0009).
 */
export class ServerClock {
  readonly #options: ServerClockOptions;
  readonly #listeners = new Set<(doubt: ClockDoubt) => void>();
  #offsetMs = 0;
  #last = 0;
  /** When the estimate was last known to be right. */
  #goodAt: Instant | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ServerClockOptions) {
    this.#options = options;
  }

  /** The first look; without it there is no time to answer. */
  async start(): Promise<void> {
    let best = await this.#options.sample();
    for (let looks = 1; looks < firstLooksMax && roundTrip(best) > roundTripMaxMs; looks += 1) {
      const next = await this.#options.sample();
      if (roundTrip(next) < roundTrip(best)) best = next;
    }
    this.#follow(best);
    this.#timer = setInterval(() => {
      // A server that does not answer leaves the estimate running; the next look corrects it, and every statement tells of the failure.
      this.look().catch(() => undefined);
    }, sampleEveryMs);
    this.#timer.unref();
  }

  async look(): Promise<void> {
    const time = await this.#options.sample();
    if (roundTrip(time) > roundTripMaxMs) {
      const to = this.now();
      this.#tell({ kind: "unsampled", from: addMs(to, -Math.round(roundTrip(time))), to, byMs: 0 });
      return;
    }
    const from = this.#goodAt;
    const byMs = this.#follow(time);
    if (from === undefined || Math.abs(byMs) <= stepMs) return;
    // Others write instants of before the step until they have looked, too.
    this.#tell({ kind: "stepped", from, to: addMs(this.now(), sampleEveryMs), byMs: Math.round(byMs) });
  }

  /** Calls back for each doubt. Returns the way to stop. */
  onDoubt(listener: (doubt: ClockDoubt) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  now(): Instant {
    this.#last = Math.max(this.#last, Math.floor(this.#options.mono() + this.#offsetMs));
    return this.#last as Instant;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Answers by how much the estimate moved. */
  #follow({ beforeMono, server, afterMono }: ServerTime): number {
    const before = this.#offsetMs;
    // The server read its clock somewhere between the two; the middle is wrong by half the round trip at most.
    this.#offsetMs = server - (beforeMono + afterMono) / 2;
    this.#goodAt = this.now();
    return this.#offsetMs - before;
  }

  #tell(doubt: ClockDoubt): void {
    for (const listener of this.#listeners) listener(doubt);
  }
}

const roundTrip = ({ beforeMono, afterMono }: ServerTime): DurationMs => afterMono - beforeMono;
