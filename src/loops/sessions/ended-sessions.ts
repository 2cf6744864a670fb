import type { WorkerId } from "../../domain/ids.ts";
import { addMs, asInstant, type DurationMs, type Instant, minutes } from "../../domain/time.ts";
import type { WorkersStore } from "../../store/port/workers.ts";

/** Most sessions of one look; the next look finds the others. */
const pageSize = 500;
/** An end may become visible later than the instant it bears, because another daemon's transaction was slow. */
const lateMs: DurationMs = minutes(1);
/** How often all ended sessions are read again, as a safeguard that should find nothing new. */
const wholeLookMs: DurationMs = minutes(10);

/**
 * Finds ended sessions that still hold runs. The first look reads all, so that a crash loses nothing; later looks read recent ends and
 * sessions that still held something, because each `wakeful run` adds a session.
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
    // A full page leaves later sessions unseen.
    if (all) this.#since = asInstant(Math.min(addMs(now, -lateMs), ...found.map(({ endedAt }) => endedAt)));
    return found.map(({ id }) => id);
  }
}
