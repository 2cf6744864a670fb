import type { DurationMs } from "../../domain/time.ts";
import { spreadDelayMs } from "../../liveness/retry-delay.ts";
import type { LiveRun, LossProgress } from "../../store/port/runs.ts";

/**
 * Places among the runs that one event ends, such as the loss of a host, so that beyond the first hundred their jobs come back spread. An
 * event lasts as long as the pages that it fills: single deaths, however many in time, are no event.
 */
export class LossSpread {
  readonly #events = new Map<string, LossProgress>();

  /** These runs will be ended now, all of them known before the first is. */
  expect(runs: readonly LiveRun[]): void {
    for (const run of runs) {
      const { index, total } = this.#of(run);
      this.#events.set(hostOf(run), { index, total: total + 1 });
    }
  }

  /** The additional delay of the next of the event's runs, in milliseconds. */
  nextDelayMs(run: LiveRun, recoverySpreadMs: DurationMs): DurationMs {
    const { index, total } = this.#of(run);
    this.#events.set(hostOf(run), { index: index + 1, total });
    return spreadDelayMs({ index, total, recoverySpreadMs });
  }

  /** What comes next is another event. */
  over(): void {
    this.#events.clear();
  }

  #of(run: LiveRun): LossProgress {
    return this.#events.get(hostOf(run)) ?? { index: 0, total: 0 };
  }
}

/** All that a machine held is lost together; what has no known machine is taken by its session. */
const hostOf = ({ process, supervisor, workerId }: LiveRun): string =>
  process?.hostId ?? supervisor?.process.hostId ?? `session ${workerId ?? "none"}`;
