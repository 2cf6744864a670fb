import type { HostId } from "../../domain/ids.ts";
import { addMs, type DurationMs } from "../../domain/time.ts";
import type { HostClock } from "../../runtime/clock.ts";
import { type ClockSample, findClockEvents, sampleOf } from "../../runtime/suspend-watch.ts";
import type { ClockDoubt } from "../../store/port/clock-doubt.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { Watcher } from "./watcher.ts";

export interface ClockWatchDeps {
  readonly host: HostClock;
  readonly hostId: HostId;
  readonly store: Pick<Store, "runs" | "now">;
  readonly watcher: Watcher;
  readonly emit: Emit;
  readonly periodMs: DurationMs;
}

/**
 * Reading the boot clock is a file read, a hundred times as dear as the other clocks. It is skipped this soon after a look while the others
 * agree: a suspend shows as a difference between them.
 */
const soonMs: DurationMs = 500;
const agreeMs: DurationMs = 20;
/** What is left of a step of the server's clock beside a suspend of this host: less is the error of two measurements. */
const stepMinMs: DurationMs = 1000;

/**
 * Compares the host's clocks each second. A stall, suspend or step counts as deaf time before any loop judges silence. Suspends are stored
 * with the host's runs, whose limits count time awake.
 */
export class ClockWatch {
  readonly #deps: ClockWatchDeps;
  #before: ClockSample;
  /** Of the suspends since the server's clock was last known: they look like a step of it, and count once. */
  #asleepMs: DurationMs = 0;
  /** What is not yet stored of suspends and steps. */
  #unrecordedMs: DurationMs = 0;

  constructor(deps: ClockWatchDeps) {
    this.#deps = deps;
    this.#before = sampleOf(deps.host);
  }

  /** Compares once. Loops call it before they judge; the daemon's timer calls it each period. */
  async look(): Promise<void> {
    const { host, hostId, store, watcher, emit, periodMs } = this.#deps;
    if (this.#unrecordedMs === 0 && this.#agreesSoon()) return;
    const after = sampleOf(host);
    const findings = findClockEvents(this.#before, after, { periodMs });
    this.#before = after;
    const now = store.now();
    for (const finding of findings) {
      if (finding.deafMs > 0) {
        const cause = finding.kind === "stepped" ? "clock_stepped" : finding.kind;
        watcher.wasDeaf({ from: addMs(now, -finding.deafMs), to: now, cause });
      }
      if (finding.kind === "stepped") emit("clock.stepped", { byMs: finding.byMs });
      if (finding.kind === "suspended") {
        emit("host.suspended", { hostId, forMs: finding.suspendedMs });
        this.#unrecordedMs += finding.suspendedMs;
        this.#asleepMs += finding.suspendedMs;
      }
    }
    await this.#store();
  }

  /** A step of the store's server is deaf time, and no part of any run's age. */
  async doubt({ kind, from, to, byMs }: ClockDoubt): Promise<void> {
    const { watcher, emit } = this.#deps;
    watcher.wasDeaf({ from, to, cause: "clock_stepped" });
    if (kind === "unsampled") return;
    await this.look();
    const asleepMs = this.#asleepMs;
    this.#asleepMs = 0;
    const ownMs = byMs - asleepMs;
    if (Math.abs(ownMs) < stepMinMs) return;
    emit("store.clock_stepped", { byMs: ownMs });
    if (ownMs < 0) return;
    this.#unrecordedMs += ownMs;
    await this.#store();
  }

  async #store(): Promise<void> {
    const { hostId, store } = this.#deps;
    const ms = this.#unrecordedMs;
    if (ms === 0) return;
    // Cleared before the write, so that two looks never store the same suspend; restored when the write fails.
    this.#unrecordedMs = 0;
    try {
      await store.runs.addSuspend({ hostId, ms });
    } catch (thrown) {
      this.#unrecordedMs += ms;
      throw thrown;
    }
  }

  /** Whether the last look was so recent that nothing can have happened since. */
  #agreesSoon(): boolean {
    const { host } = this.#deps;
    const { mono, wall } = this.#before;
    const passedMs = host.mono() - mono;
    return passedMs >= 0 && passedMs < soonMs && Math.abs(host.wall() - wall - passedMs) < agreeMs;
  }
}
