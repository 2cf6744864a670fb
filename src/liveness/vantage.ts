import { addMs, ageMs, type DurationMs, type Instant, minutes, seconds } from "../domain/time.ts";
import type { Channel } from "./evidence.ts";

/**
 * From where the watcher hears, and when it could not. Silence proves something only for time in which the watcher could have heard.
 *
 * A {@link Vantage} is plain data: JSON-safe, so that the daemon can store it at each start. A watcher that crashes in a loop keeps its
 * memory of earlier deaf intervals that way, and with it the end of its own doubt (`silenceCeilingFactor`).
 */
export interface Vantage {
  readonly settings: VantageSettings;
  /** Closed intervals in the order of their start. They may overlap; every reader takes their union. */
  readonly intervals: readonly DeafInterval[];
  /** Deaf since then, and still. */
  readonly open: Readonly<Partial<Record<DeafCause, Instant>>>;
  readonly scopes: Readonly<Record<string, ScopeState>>;
}

/**
 * How much a scope (workers; instances of one provider and zone) may be judged by silence.
 * `limited`: many fell silent at once, so the watcher doubts itself first; `frozen`: its own canary fails, nothing is judged by silence.
 */
export type VantageMode = "normal" | "limited" | "frozen";

export interface ScopeState {
  readonly mode: VantageMode;
  readonly since: Instant;
  /** Since when nothing has called for the present mode; leaving it takes `cleanMs` of that. */
  readonly cleanSince?: Instant;
}

/**
 * Why the watcher was deaf.
 * `process_down` it did not run; `stalled` it ran but was paused; `suspended` its machine slept; `store_unreachable`; `slow_query` longer
 * than a tick; `clock_stepped` instants of before and after do not compare.
 */
export type DeafCause = "process_down" | "stalled" | "suspended" | "store_unreachable" | "slow_query" | "clock_stepped";

export interface DeafInterval {
  readonly from: Instant;
  readonly to: Instant;
  readonly cause: DeafCause;
}

export interface VantageSettings {
  /** How long everyone alive needs to be heard again after a deaf interval: two renewals. Default 10 000. */
  readonly reannounceMs: DurationMs;
  /** At this many times a limit the doubt ends. Default 10. */
  readonly silenceCeilingFactor: number;
  /** More deaf intervals than this within `unstableWindowMs` make the vantage unstable. Default 5. */
  readonly unstableAbove: number;
  readonly unstableWindowMs: DurationMs;
  /** How long a scope must be clean before its mode is left. Default 60 000. */
  readonly cleanMs: DurationMs;
  /** Deaf intervals that ended longer ago than this are forgotten. Default seven days. */
  readonly rememberMs: DurationMs;
  /** At most so many intervals are kept; the oldest are joined, which only prolongs the doubt. Default 256. */
  readonly intervalsMax: number;
}

export const defaultVantageSettings: VantageSettings = {
  reannounceMs: seconds(10),
  silenceCeilingFactor: 10,
  unstableAbove: 5,
  unstableWindowMs: minutes(10),
  cleanMs: seconds(60),
  rememberMs: 7 * 24 * 3_600_000,
  intervalsMax: 256,
};

/** What each cause makes inaudible. A watcher that is down misses only beats sent to itself: the store and the files keep the others. */
const channelsDeafBy: Record<DeafCause, readonly Channel[]> = {
  process_down: ["throughMe"],
  stalled: ["throughMe", "files"],
  suspended: ["throughMe", "throughStore", "files"],
  store_unreachable: ["throughMe", "throughStore"],
  slow_query: ["throughMe", "throughStore"],
  clock_stepped: ["throughMe", "throughStore", "files"],
};

/** A vantage without a past. */
export function newVantage(settings: Partial<VantageSettings> = {}): Vantage {
  return { settings: { ...defaultVantageSettings, ...settings }, intervals: [], open: {}, scopes: {} };
}

/**
 * The vantage of a watcher that starts: what the previous process remembered, and the time in which there was no process.
 * Modes start anew; `lastAliveAt` is the newest instant the previous process is known to have lived at.
 */
export function wakeVantage(options: {
  readonly previous: Vantage | undefined;
  readonly lastAliveAt: Instant | undefined;
  readonly now: Instant;
  readonly settings?: Partial<VantageSettings>;
}): Vantage {
  const { previous, lastAliveAt, now } = options;
  const fresh = newVantage({ ...previous?.settings, ...options.settings });
  // A store whose clock was set right remembers what has not been yet; nobody can have been deaf then.
  const intervals = (previous?.intervals ?? [])
    .filter((interval) => interval.from < now)
    .map((interval) => (interval.to > now ? { ...interval, to: now } : interval));
  const remembered = { ...fresh, intervals };
  return lastAliveAt === undefined ? remembered : addDeaf(remembered, { from: lastAliveAt, to: now, cause: "process_down" });
}

/** The vantage with one more closed deaf interval, pruned. An empty or backward interval changes nothing. */
export function addDeaf(vantage: Vantage, interval: DeafInterval): Vantage {
  if (interval.to <= interval.from) return vantage;
  const intervals = [...vantage.intervals, interval].sort((a, b) => a.from - b.from);
  return prune({ ...vantage, intervals }, interval.to);
}

/** From `at` on the watcher is deaf by `cause`, until {@link endDeaf}. A second begin of the same cause keeps the first. */
export function beginDeaf(vantage: Vantage, cause: DeafCause, at: Instant): Vantage {
  return vantage.open[cause] === undefined ? { ...vantage, open: { ...vantage.open, [cause]: at } } : vantage;
}

/** The watcher hears again; without a begin nothing changes. */
export function endDeaf(vantage: Vantage, cause: DeafCause, at: Instant): Vantage {
  const { [cause]: from, ...open } = vantage.open;
  return from === undefined ? vantage : addDeaf({ ...vantage, open }, { from, to: at, cause });
}

function prune(vantage: Vantage, now: Instant): Vantage {
  const { rememberMs, intervalsMax } = vantage.settings;
  let intervals = vantage.intervals.filter((interval) => now - interval.to <= rememberMs);
  while (intervals.length > intervalsMax) {
    const [first, second, ...rest] = intervals;
    if (first === undefined || second === undefined) break;
    // Only what was suspended throughout may stay "suspended", for that cause is left out of the ceiling as well.
    const cause = first.cause === second.cause ? first.cause : first.cause === "suspended" ? second.cause : first.cause;
    intervals = [{ from: first.from, to: Math.max(first.to, second.to) as Instant, cause }, ...rest];
  }
  return { ...vantage, intervals };
}

/** Whether the watcher was deaf so often of late that its hearing is itself worth an alert (`vantage.unstable`). */
export function isUnstable(vantage: Vantage, now: Instant): boolean {
  const { unstableAbove, unstableWindowMs } = vantage.settings;
  const recent = vantage.intervals.filter((interval) => now - interval.to < unstableWindowMs).length;
  return recent + Object.keys(vantage.open).length > unstableAbove;
}

/** How long a subject has been silent, as far as that could be known. All in milliseconds. */
export interface Silence {
  /** By the clock alone. */
  readonly sinceHeardMs: DurationMs;
  /** Part of it in which nothing could be heard. */
  readonly deafMs: DurationMs;
  /** The age after vantage, which the limits are compared with. */
  readonly silentMs: DurationMs;
  /** Whether the silence counts: those who live have had the time to be heard again after the last deaf interval. */
  readonly earned: boolean;
  /** At least this long until an unearned silence can be earned; 0 when it is. */
  readonly earnedInMs: DurationMs;
}

export interface SilenceQuery {
  readonly channel: Channel;
  readonly lastHeardAt: Instant;
  /** The limit the silence is about to be compared with; the end of doubt is a multiple of it. */
  readonly limitMs: DurationMs;
  readonly now: Instant;
}

/**
 * The silence of one subject: time since it was last heard, less the deaf time in between, and counted only after `reannounceMs` of
 * unbroken hearing.
 *
 * A watcher that crashes every few seconds would never get there. So once `silenceCeilingFactor` times the limit have passed awake, pieces
 * of hearing count together: `reannounceMs` of them after the first deaf interval end the doubt, and all time awake is silence. The pieces
 * are asked for because one long absence (a daemon stopped overnight) also passes the ceiling, and proves nothing about the others.
 */
export function silenceOf(vantage: Vantage, query: SilenceQuery): Silence {
  const { channel, lastHeardAt, limitMs, now } = query;
  const { reannounceMs, silenceCeilingFactor } = vantage.settings;
  const sinceHeardMs = ageMs(lastHeardAt, now);
  const intervals = [...vantage.intervals, ...openUntil(vantage, now)].filter((interval) =>
    channelsDeafBy[interval.cause].includes(channel),
  );
  const deaf = unionWithin(intervals, lastHeardAt, now);
  const first = deaf[0];
  const last = deaf.at(-1);
  if (first === undefined || last === undefined) return { sinceHeardMs, deafMs: 0, silentMs: sinceHeardMs, earned: true, earnedInMs: 0 };

  const deafMs = total(deaf);
  const suspendedMs = total(
    unionWithin(
      intervals.filter((interval) => interval.cause === "suspended"),
      lastHeardAt,
      now,
    ),
  );
  const awakeMs = sinceHeardMs - suspendedMs;
  const piecesMs = now - first.from - deafMs;
  if (awakeMs >= silenceCeilingFactor * limitMs && piecesMs >= reannounceMs) {
    return { sinceHeardMs, deafMs: suspendedMs, silentMs: awakeMs, earned: true, earnedInMs: 0 };
  }
  const earnedInMs = Math.max(0, reannounceMs - (now - last.to));
  return { sinceHeardMs, deafMs, silentMs: sinceHeardMs - deafMs, earned: earnedInMs === 0, earnedInMs };
}

function openUntil(vantage: Vantage, now: Instant): DeafInterval[] {
  return Object.entries(vantage.open).map(([cause, from]) => ({ from, to: now, cause: cause as DeafCause }));
}

interface Span {
  readonly from: number;
  readonly to: number;
}

function unionWithin(intervals: readonly Span[], from: number, to: number): Span[] {
  const clipped = intervals
    .map((interval) => ({ from: Math.max(interval.from, from), to: Math.min(interval.to, to) }))
    .filter((interval) => interval.to > interval.from)
    .sort((a, b) => a.from - b.from);
  const union: Span[] = [];
  for (const span of clipped) {
    const last = union.at(-1);
    if (last !== undefined && span.from <= last.to) union[union.length - 1] = { from: last.from, to: Math.max(last.to, span.to) };
    else union.push(span);
  }
  return union;
}

const total = (spans: readonly Span[]): DurationMs => spans.reduce((sum, span) => sum + span.to - span.from, 0);

/** What a judge sees of the vantage: the mode of its scope, and silences. */
export interface VantageView {
  readonly mode: VantageMode;
  silence(query: SilenceQuery): Silence;
}

/** The view of one scope, e.g. `workers`. */
export function viewOf(vantage: Vantage, scope: string): VantageView {
  return { mode: vantage.scopes[scope]?.mode ?? "normal", silence: (query) => silenceOf(vantage, query) };
}

/** Whether a subject has been silent for `limitMs` or longer, as far as that counts. Never while the scope is frozen. */
export function isSilent(view: VantageView, query: SilenceQuery): { readonly silent: boolean; readonly silence: Silence } {
  const silence = view.silence(query);
  return { silent: view.mode !== "frozen" && silence.earned && silence.silentMs >= query.limitMs, silence };
}

/** How soon a silence is looked at again that counts for nothing only because its scope is frozen. */
const frozenRecheckMs: DurationMs = 1_000;

/** The earliest instant at which a silence that does not count yet is worth another look. Always after `now`. */
export function silentNotBefore(silence: Silence, limitMs: DurationMs, now: Instant): Instant {
  const missingMs = Math.max(limitMs - silence.silentMs, silence.earnedInMs);
  return addMs(now, missingMs > 0 ? missingMs : frozenRecheckMs);
}
