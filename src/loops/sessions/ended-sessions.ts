import type { WorkerId } from "../../domain/ids.ts";
import { addMs, asInstant, type DurationMs, type Instant, minutes } from "../../domain/time.ts";
import type { WorkersStore } from "../../store/port/workers.ts";

/** Most sessions of one look; the others come with the next. */
const pageSize = 500;
/** An end may be seen later than the instant it bears: when another daemon's transaction took its time. */
const lateMs: DurationMs = minutes(1);
/** How often all sessions that ever ended are asked for nevertheless. Nothing should be found then that was not found before. */
const wholeLookMs: DurationMs = minutes(10);

/**
 * Finds ended sessions that still hold runs. All of them at the first look, so that a crash between a verdict and what follows loses
 * nothing; then those that have ended since, and those that held something at the last look. Sessions are many where each
 * `wakeful run` is one, and who has given everything back is asked for no more.
 */
export class EndedSessions {
  readonly #workers: Pick<WorkersStore, "listEndedHolding">;
  #since: Instant = asInstant(0);
  #wholeAt: Instant | undefined;

  constructor(workers: Pick<WorkersStore, "listEndedHolding">) {
    this.#workers = workers;
  }

  async holding(now: Instant): Promise<readonly WorkerId[]> {
    const whole = this.#wholeAt === undefined || now - this.#wholeAt >= wholeLookMs;
    const found = await this.#workers.listEndedHolding({ endedSince: whole ? asInstant(0) : this.#since, limit: pageSize });
    const all = found.length < pageSize;
    if (whole && all) this.#wholeAt = now;
    // A full page says nothing of those behind it.
    if (all) this.#since = asInstant(Math.min(addMs(now, -lateMs), ...found.map(({ endedAt }) => endedAt)));
    return found.map(({ id }) => id);
  }
}
