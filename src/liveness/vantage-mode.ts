import { addMs, ageMs, type DurationMs, type Instant } from "../domain/time.ts";
import type { ScopeState, Vantage, VantageMode } from "./vantage.ts";

/** What one tick observed of a scope. */
export interface ScopeObservation {
  readonly scope: string;
  /** All subjects of the scope. */
  readonly total: number;
  /** How many of them turned silent within one timeout. Those proved dead do not count. */
  readonly turnedSilent: number;
  /** The watcher's own beat through the same listener or connection. `unknown` changes nothing. */
  readonly canary: "ok" | "failing" | "unknown";
  readonly now: Instant;
}

/** Each change is an event and an alert. */
export interface ModeChange {
  readonly scope: string;
  readonly from: VantageMode;
  readonly to: VantageMode;
  readonly turnedSilent: number;
  readonly total: number;
}

/** How many subjects may turn silent at once before the watcher doubts itself: two, or a fifth of all. */
export const silentAllowed = (total: number): number => Math.max(2, 0.2 * total);

const severity: Record<VantageMode, number> = { normal: 0, limited: 1, frozen: 2 };

function calledFor(observation: ScopeObservation, present: VantageMode): VantageMode {
  if (observation.canary === "failing" || (observation.canary === "unknown" && present === "frozen")) return "frozen";
  return observation.turnedSilent > silentAllowed(observation.total) ? "limited" : "normal";
}

/** Applies one observation of a scope. A stricter mode is entered at once, and left after `cleanMs` in which nothing called for it. */
export function observeScope(vantage: Vantage, observation: ScopeObservation): { readonly vantage: Vantage; readonly change?: ModeChange } {
  const { scope, now } = observation;
  const before: ScopeState = vantage.scopes[scope] ?? { mode: "normal", since: now };
  const wanted = calledFor(observation, before.mode);
  const after = nextState(before, wanted, now, vantage.settings.cleanMs);
  const next = { ...vantage, scopes: { ...vantage.scopes, [scope]: after } };
  if (after.mode === before.mode) return { vantage: next };
  const { turnedSilent, total } = observation;
  return { vantage: next, change: { scope, from: before.mode, to: after.mode, turnedSilent, total } };
}

function nextState(before: ScopeState, wanted: VantageMode, now: Instant, cleanMs: DurationMs): ScopeState {
  if (severity[wanted] > severity[before.mode]) return { mode: wanted, since: now };
  if (wanted === before.mode) return { mode: before.mode, since: before.since };
  const cleanSince = before.cleanSince ?? now;
  return ageMs(cleanSince, now) >= cleanMs ? { mode: wanted, since: now } : { ...before, cleanSince };
}

/**
 * How many subjects turned silent within the last `limitMs`. Those judged dead by silence in that time belong to them: without them each
 * death would lower the count and hide that many fell silent together.
 */
export function countTurnedSilent(
  subjects: Iterable<{ readonly lastHeardAt: Instant; readonly provedDead: boolean }>,
  options: { readonly limitMs: DurationMs; readonly now: Instant },
): number {
  const { limitMs, now } = options;
  let count = 0;
  for (const subject of subjects) {
    const turnedSilentAt = addMs(subject.lastHeardAt, limitMs);
    if (!subject.provedDead && turnedSilentAt <= now && now - turnedSilentAt < limitMs) count += 1;
  }
  return count;
}

/** How long a worker may be silent in this mode: doubled once while limited. */
export const deadAfterIn = (mode: VantageMode, deadAfterMs: DurationMs): DurationMs => (mode === "limited" ? 2 * deadAfterMs : deadAfterMs);
