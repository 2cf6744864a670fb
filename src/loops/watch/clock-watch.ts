import type { HostId } from "../../domain/ids.ts";
import { addMs, type DurationMs } from "../../domain/time.ts";
import type { HostClock } from "../../runtime/clock.ts";
import { type ClockSample, findClockEvents, sampleOf } from "../../runtime/suspend-watch.ts";
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
 * The boot clock is a file, a hundred times as dear as the other two. Between two looks that follow each other this soon it is left alone
 * as long as the others agree: a suspend moves the wall against the monotonic clock, and the next full look compares with the last one.
 */
const soonMs: DurationMs = 500;
const agreeMs: DurationMs = 20;

/**
 * Compares the host's clocks each second. What it finds (a stall, a suspend, a step) makes the watcher deaf for that time before any loop
 * judges silence, and a suspend is recorded with the host's runs, whose limits count time awake.
 */
export class ClockWatch {
  readonly #deps: ClockWatchDeps;
  #before: ClockSample;
  /** Suspends that the store does not know of yet. */
  #unrecordedMs: DurationMs = 0;

  constructor(deps: ClockWatchDeps) {
    this.#deps = deps;
    this.#before = sampleOf(deps.host);
  }

  /** One comparison. Loops call it before they judge; the daemon's timer calls it each period. */
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
      }
    }
    const ms = this.#unrecordedMs;
    if (ms === 0) return;
    // Taken before the store is asked, so that two looks never record the same; given back when it does not answer.
    this.#unrecordedMs = 0;
    try {
      await store.runs.addSuspend({ hostId, ms });
    } catch (thrown) {
      this.#unrecordedMs += ms;
      throw thrown;
    }
  }

  /** Whether the last look was a moment ago, and nothing can have happened since. */
  #agreesSoon(): boolean {
    const { host } = this.#deps;
    const { mono, wall } = this.#before;
    const passedMs = host.mono() - mono;
    return passedMs >= 0 && passedMs < soonMs && Math.abs(host.wall() - wall - passedMs) < agreeMs;
  }
}
