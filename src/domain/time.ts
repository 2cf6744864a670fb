/**
 * A point in time of the store's clock: integer milliseconds since the Unix epoch.
 * Ages are differences of two instants of the same clock; a host's wall clock is never one of them.
 */
declare const instantBrand: unique symbol;
export type Instant = number & { readonly [instantBrand]: true };
/** A length of time in integer milliseconds. */
export type DurationMs = number;

export const asInstant = (epochMs: number): Instant => epochMs as Instant;

/** `instant` moved by `ms`, which may be negative. */
export const addMs = (instant: Instant, ms: DurationMs): Instant => (instant + ms) as Instant;

/** Milliseconds from `earlier` to `later`; never negative, because a clock that stepped back proves no age. */
export const ageMs = (earlier: Instant, later: Instant): DurationMs => Math.max(0, later - earlier);

export const seconds = (n: number): DurationMs => n * 1000;
export const minutes = (n: number): DurationMs => n * 60_000;
export const hours = (n: number): DurationMs => n * 3_600_000;
export const days = (n: number): DurationMs => hours(24 * n);

/** Beyond this lead of the newest stored instant over the wall, ages stand still for longer than anybody waits: an alert. */
export const clockAheadMaxMs: DurationMs = hours(1);
