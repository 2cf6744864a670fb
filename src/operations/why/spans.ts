import type { DurationMs, Instant } from "../../domain/time.ts";

/** A length of time as people say it: `250 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function spanText(ms: DurationMs): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(1))} s`;
  const units: readonly [string, number][] = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
    ["s", 1000],
  ];
  const first = units.findIndex(([, size]) => ms >= size);
  const [unit, size] = units[first] ?? ["s", 1000];
  const [smaller, smallerSize] = units[first + 1] ?? ["ms", 1];
  const rest = Math.floor((ms % size) / smallerSize);
  return `${Math.floor(ms / size)} ${unit}${rest === 0 ? "" : ` ${rest} ${smaller}`}`;
}

/** `3 min ago`, `in 12 s`, `now`. */
export function relativeText(at: Instant, now: Instant): string {
  if (at === now) return "now";
  return at < now ? `${spanText(now - at)} ago` : `in ${spanText(at - now)}`;
}

/** `2026-11-22 02:10:03Z`. */
export const absoluteText = (at: Instant): string => `${new Date(at).toISOString().slice(0, 19).replace("T", " ")}Z`;

/** `2026-11-22 02:10:03Z (3 min ago)`. */
export const whenText = (at: Instant, now: Instant): string => `${absoluteText(at)} (${relativeText(at, now)})`;
