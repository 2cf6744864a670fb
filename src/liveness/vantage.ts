import { addMs, ageMs, type DurationMs, days, type Instant, minutes, seconds } from "../domain/time.ts";
import type { Channel } from "./evidence.ts";

/**
 * When the watcher could not hear: silence counts only for time in which it could (docs/architecture.md, Clock and vantage). JSON-safe:
 * stored at each start, so that a watcher that crashes in a loop remembers earlier deaf intervals.
 */
export interface Vantage {
  readonly settings: VantageSettings;
  /** Closed intervals, ordered by start. They may overlap: every reader takes their union. */
  readonly intervals: readonly DeafInterval[];
  /** When the deaf intervals that still last began. */
  readonly open: Readonly<Partial<Record<DeafCause, Instant>>>;
  readonly scopes: Readonly<Record<string, ScopeState>>;
}

/**
 * How far a scope (workers; instances of one provider and zone) is judged by silence. `limited`: many fell silent at once, so the watcher
 * doubts itself first; `frozen`: its canary fails, so not at all.
 */
export type VantageMode = "normal" | "limited" | "frozen";

export interface ScopeState {
  readonly mode: VantageMode;
  readonly since: Instant;
  /** Since when nothing has called for the present mode; after `cleanMs` of that it is left. */
  readonly cleanSince?: Instant;
}

/**
 * Why the watcher was deaf. `process_down`: it did not run; `stalled`: it ran but was paused; `suspended`: its machine slept; `slow_query`:
 * longer than a tick; `clock_stepped`: instants before and after do not compare.
 */
export type DeafCause = "process_down" | "stalled" | "suspended" | "store_unreachable" | "slow_query" | "clock_stepped";

export interface DeafInterval {
  readonly from: Instant;
  readonly to: Instant;
  readonly cause: DeafCause;
}

export interface VantageSettings {
  /** How long all living subjects need to be heard again after a deaf interval: two renewals. Default 10 000. */
  readonly reannounceMs: DurationMs;
  /** The doubt ends at this many times a limit. Default 10. */
  readonly silenceCeilingFactor: number;
  /** More deaf intervals than this within `unstableWindowMs` make the vantage unstable. Default 5. */
  readonly unstableAbove: number;
  readonly unstableWindowMs: DurationMs;
  /** How long a scope must be clean before its mode is left. Default 60 000. */
  readonly cleanMs: DurationMs;
  /** Deaf intervals that ended longer ago than this are forgotten. Default seven days. */
  readonly rememberMs: DurationMs;
  /** Most intervals kept; the oldest are joined, which only prolongs the doubt. Default 256. */
  readonly intervalsMax: number;
}

export const defaultVantageSettings: VantageSettings = {
  reannounceMs: seconds(10),
  silenceCeilingFactor: 10,
  unstableAbove: 5,
  unstableWindowMs: minutes(10),
  cleanMs: seconds(60),
  rememberMs: days(7),
  intervalsMax: 256,
};

/** What each cause makes inaudible. A watcher that is down misses only beats sent to itself: store and files keep the others. */
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
 * The vantage of a starting watcher: what the previous process remembered, plus the time without a process. Modes start anew. `lastAliveAt`
 * is the newest instant at which the previous process is known to have lived.
 */
export function wakeVantage(options: {
  readonly previous: Vantage | undefined;
  readonly lastAliveAt: Instant | undefined;
  readonly now: Instant;
  readonly settings?: Partial<VantageSettings>;
}): Vantage {
  const { previous, lastAliveAt, now } = options;
  // After a clock that was ahead is set right, the store remembers future instants: nobody was deaf then.
  const intervals = previous?.intervals
    .filter((interval) => interval.from < now)
    .map((interval) => ({ ...interval, to: Math.min(interval.to, now) as Instant }));
  const remembered = { ...newVantage(options.settings), intervals: intervals ?? [] };
  return lastAliveAt === undefined ? remembered : addDeaf(remembered, { from: lastAliveAt, to: now, cause: "process_down" });
}

/** The vantage with one more closed deaf interval, pruned. An empty or backward interval changes nothing. */
export function addDeaf(vantage: Vantage, interval: DeafInterval): Vantage {
  if (interval.to <= interval.from) return vantage;
  const { rememberMs, intervalsMax } = vantage.settings;
  const kept = [...vantage.intervals, interval].sort((a, b) => a.from - b.from).filter(({ to }) => interval.to - to <= rememberMs);
  const oldest = kept.slice(0, Math.max(1, kept.length - intervalsMax + 1));
  return { ...vantage, intervals: [oldest.reduce(joined), ...kept.slice(oldest.length)] };
}

/** The join stays `suspended` only if both were: the ceiling leaves that cause out. */
function joined(a: DeafInterval, b: DeafInterval): DeafInterval {
  return { from: a.from, to: Math.max(a.to, b.to) as Instant, cause: a.cause === "suspended" ? b.cause : a.cause };
}

/** From `at` the watcher is deaf by `cause`, until {@link endDeaf}. A repeated begin keeps the first. */
export function beginDeaf(vantage: Vantage, cause: DeafCause, at: Instant): Vantage {
  return vantage.open[cause] === undefined ? { ...vantage, open: { ...vantage.open, [cause]: at } } : vantage;
}

/** The watcher hears again. Without a begin nothing changes. */
export function endDeaf(vantage: Vantage, cause: DeafCause, at: Instant): Vantage {
  const { [cause]: from, ...open } = vantage.open;
  return from === undefined ? vantage : addDeaf({ ...vantage, open }, { from, to: at, cause });
}

/** Whether the watcher was deaf so often lately that this is itself worth an alert (`vantage.unstable`). */
export function isUnstable(vantage: Vantage, now: Instant): boolean {
  const { unstableAbove, unstableWindowMs } = vantage.settings;
  const recent = vantage.intervals.filter((interval) => now - interval.to < unstableWindowMs).length;
  return recent + Object.keys(vantage.open).length > unstableAbove;
}

/** How long a subject has been silent, as far as that could be known. All in milliseconds. */
export interface Silence {
  /** By the clock alone. */
  readonly sinceHeardMs: DurationMs;
  /** The part of it in which nothing could be heard. */
  readonly deafMs: DurationMs;
  /** The age after vantage, which is compared with limits. */
  readonly silentMs: DurationMs;
  /** Whether the silence counts: all living subjects had time to be heard again after the last deaf interval. */
  readonly earned: boolean;
  /** The least time until the silence counts; 0 when it does. */
  readonly earnedInMs: DurationMs;
}

export interface SilenceQuery {
  readonly channel: Channel;
  readonly lastHeardAt: Instant;
  /** The limit with which the silence is compared; the doubt ends at a multiple of it. */
  readonly limitMs: DurationMs;
  readonly now: Instant;
}

/**
 * The time since a subject was last heard, less the time in which this watcher was deaf. Deafness ends after `reannounceMs` of unbroken
 * hearing. A watcher that keeps crashing never hears that long, so `silenceCeilingFactor` bounds it.
 */
export function silenceOf(vantage: Vantage, query: SilenceQuery): Silence {
  const { channel, lastHeardAt, limitMs, now } = query;
  const { reannounceMs, silenceCeilingFactor } = vantage.settings;
  const sinceHeardMs = ageMs(lastHeardAt, now);
  const intervals = [...vantage.intervals, ...openUntil(vantage, now)].filter((interval) =>
    channelsDeafBy[interval.cause].includes(channel),
  );
  const deaf = deafWithin(intervals, lastHeardAt, now);
  if (deaf === undefined) return { sinceHeardMs, deafMs: 0, silentMs: sinceHeardMs, earned: true, earnedInMs: 0 };

  const deafMs = deaf.totalMs;
  const suspended = intervals.filter((interval) => interval.cause === "suspended");
  const suspendedMs = deafWithin(suspended, lastHeardAt, now)?.totalMs ?? 0;
  const awakeMs = sinceHeardMs - suspendedMs;
  // One long absence (a daemon stopped overnight) also passes the ceiling and proves nothing: hearing must add up to `reannounceMs` as well.
  const heardMs = now - deaf.from - deafMs;
  if (awakeMs >= silenceCeilingFactor * limitMs && heardMs >= reannounceMs) {
    return { sinceHeardMs, deafMs: suspendedMs, silentMs: awakeMs, earned: true, earnedInMs: 0 };
  }
  const earnedInMs = Math.max(0, reannounceMs - (now - deaf.to));
  return { sinceHeardMs, deafMs, silentMs: sinceHeardMs - deafMs, earned: earnedInMs === 0, earnedInMs };
}

function openUntil(vantage: Vantage, now: Instant): DeafInterval[] {
  return Object.entries(vantage.open).map(([cause, from]) => ({ from, to: now, cause: cause as DeafCause }));
}

interface Span {
  readonly from: number;
  readonly to: number;
}

/** From the first deaf instant between `from` and `to` to the last, and the deaf time in between, counted once; `undefined`: never deaf. */
function deafWithin(intervals: readonly Span[], from: number, to: number): (Span & { readonly totalMs: DurationMs }) | undefined {
  const clipped = intervals
    .map((interval) => ({ from: Math.max(interval.from, from), to: Math.min(interval.to, to) }))
    .filter((interval) => interval.to > interval.from)
    .sort((a, b) => a.from - b.from);
  const [first] = clipped;
  if (first === undefined) return undefined;
  let end = first.from;
  let totalMs = 0;
  for (const span of clipped) {
    totalMs += Math.max(0, span.to - Math.max(span.from, end));
    end = Math.max(end, span.to);
  }
  return { from: first.from, to: end, totalMs };
}

/** What a judge needs of the vantage: the mode of its scope, and silences. */
export interface VantageView {
  readonly mode: VantageMode;
  silence(query: SilenceQuery): Silence;
}

/** The view of one scope, e.g. `workers`. */
export function viewOf(vantage: Vantage, scope: string): VantageView {
  return { mode: vantage.scopes[scope]?.mode ?? "normal", silence: (query) => silenceOf(vantage, query) };
}

/** Whether a subject has been silent for `limitMs` or longer, as far as that counts. Never in a frozen scope. */
export function isSilent(view: VantageView, query: SilenceQuery): { readonly silent: boolean; readonly silence: Silence } {
  const silence = view.silence(query);
  return { silent: view.mode !== "frozen" && silence.earned && silence.silentMs >= query.limitMs, silence };
}

/** How soon a silence is judged again that does not count only because its scope is frozen. */
const frozenRecheckMs: DurationMs = seconds(1);

/** The earliest instant at which a silence that does not count yet should be judged again. Always after `now`. */
export function silentNotBefore(silence: Silence, limitMs: DurationMs, now: Instant): Instant {
  const missingMs = Math.max(limitMs - silence.silentMs, silence.earnedInMs);
  return addMs(now, missingMs > 0 ? missingMs : frozenRecheckMs);
}
