import assert from "node:assert/strict";
import type { HostClock } from "./clock.ts";

export interface FakeClockOptions {
  /** Wall time at the start, epoch milliseconds. @defaultValue 2026-01-01T00:00:00Z */
  readonly wallMs?: number;
  /** @defaultValue 1_000 */
  readonly monoMs?: number;
  /** `undefined` plays a platform without such a clock. @defaultValue 60_000 */
  readonly bootMs?: number | undefined;
}

/** A host's three clocks, moved by the test alone and apart from each other where reality would. */
export class FakeClock implements HostClock {
  #wallMs: number;
  #monoMs: number;
  #bootMs: number | undefined;

  constructor(options: FakeClockOptions = {}) {
    this.#wallMs = options.wallMs ?? Date.UTC(2026, 0, 1);
    this.#monoMs = options.monoMs ?? 1_000;
    this.#bootMs = "bootMs" in options ? options.bootMs : 60_000;
  }

  wall(): number {
    return this.#wallMs;
  }

  mono(): number {
    return this.#monoMs;
  }

  boot(): number | undefined {
    return this.#bootMs;
  }

  /** Time passes as usual: all three clocks move. */
  advance(ms: number): void {
    assert(ms >= 0, "time does not run backwards; stepWall() moves the wall clock either way");
    this.#monoMs += ms;
    this.suspend(ms);
  }

  /** The machine sleeps: wall and boot time move, the monotonic clock stands still. */
  suspend(ms: number): void {
    assert(ms >= 0, "a machine does not sleep backwards");
    this.#wallMs += ms;
    if (this.#bootMs !== undefined) this.#bootMs += ms;
  }

  /** Somebody sets the wall clock, forwards or backwards; the other two do not notice. */
  stepWall(ms: number): void {
    this.#wallMs += ms;
  }

  /** The machine starts anew `afterMs` later: boot time and the monotonic clock begin again at zero, the wall goes on. */
  reboot(afterMs = 30_000): void {
    assert(afterMs >= 0, "a machine does not start before it stopped");
    this.#wallMs += afterMs;
    this.#monoMs = 0;
    if (this.#bootMs !== undefined) this.#bootMs = 0;
  }
}
