import type { DurationMs } from "../../domain/time.ts";
import { spreadDelayMs } from "../../liveness/retry-delay.ts";
import type { LiveRun, LossProgress } from "../../store/port/runs.ts";

/**
 * Spreads the return of jobs that one event loses, such as the loss of a host, beyond the first hundred. Only full pages in a row are one
 * event; single deaths never add up to one.
 */
export class LossSpread {
  readonly #events = new Map<string, LossProgress>();

  /** Announces runs that are about to be ended: all must be known before the first is. */
  expect(runs: readonly LiveRun[]): void {
    for (const run of runs) {
      const { index, total } = this.#of(run);
      this.#events.set(hostOf(run), { index, total: total + 1 });
    }
  }

  /** The extra delay for the event's next run, in milliseconds. */
  nextDelayMs(run: LiveRun, recoverySpreadMs: DurationMs): DurationMs {
    const { index, total } = this.#of(run);
    this.#events.set(hostOf(run), { index: index + 1, total });
    return spreadDelayMs({ index, total, recoverySpreadMs });
  }

  /** Ends the event: whatever follows is another. */
  over(): void {
    this.#events.clear();
  }

  #of(run: LiveRun): LossProgress {
    return this.#events.get(hostOf(run)) ?? { index: 0, total: 0 };
  }
}

/** A host loses all that it held at once; a run without a known host is lost with its session. */
const hostOf = ({ process, supervisor, workerId }: LiveRun): string =>
  process?.hostId ?? supervisor?.process.hostId ?? `session ${workerId ?? "none"}`;
