import type { DurationMs } from "../domain/time.ts";

/** For how long a watcher has heard nothing of a process that should speak, in looks of a timer of its own. JSON-safe. */
export interface Hearing {
  /** Monotonic. */
  readonly lookedAt: DurationMs;
  /** Time without a word in which the watcher could have heard one. */
  readonly unheardMs: DurationMs;
  /** Looks since the last word. */
  readonly looks: number;
}

export interface HearingLimits {
  /** Time between two looks that are on time. */
  readonly lookMs: DurationMs;
  /** How long the process may be silent. */
  readonly limitMs: DurationMs;
  /** How long the watcher must have heard again, after it was deaf, before a silence counts. */
  readonly reannounceMs: DurationMs;
}

/** A look that comes this many times later than it should is the watcher's own standstill: it was stopped, starved or suspended. */
const lateLooks = 3;
/** A watcher that keeps standing still judges all the same once so many looks made up the limit this many times. */
const ceilingFactor = 10;

/** A word was heard at `monoNow`. */
export const heardNow = (monoNow: DurationMs): Hearing => ({ lookedAt: monoNow, unheardMs: 0, looks: 0 });

/** The hearing after a look at `monoNow`. Time in which the watcher stood still counts as one look, and begins a doubt. */
export function lookedAgain(before: Hearing, monoNow: DurationMs, { lookMs, limitMs, reannounceMs }: HearingLimits): Hearing {
  const passedMs = Math.max(0, monoNow - before.lookedAt);
  const looks = before.looks + 1;
  const wasDeaf = passedMs > lateLooks * lookMs;
  const countedMs = before.unheardMs + (wasDeaf ? lookMs : passedMs);
  const isDoubted = wasDeaf && looks * lookMs < ceilingFactor * limitMs;
  const unheardMs = isDoubted ? Math.min(countedMs, Math.max(0, limitMs - reannounceMs)) : countedMs;
  return { lookedAt: monoNow, unheardMs, looks };
}

export const isUnheard = ({ unheardMs }: Hearing, { limitMs }: Pick<HearingLimits, "limitMs">): boolean => unheardMs >= limitMs;
