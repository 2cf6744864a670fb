import { spanText } from "./durations.ts";
import type { Instant } from "./time.ts";

/** `3 min ago`, `in 12 s`, `now`. */
export function relativeText(at: Instant, now: Instant): string {
  if (at === now) return "now";
  return at < now ? `${spanText(now - at)} ago` : `in ${spanText(at - now)}`;
}

/** `2026-11-22 02:10:03Z`. */
export const absoluteText = (at: Instant): string => `${new Date(at).toISOString().slice(0, 19).replace("T", " ")}Z`;

/** `2026-11-22 02:10:03Z (3 min ago)`. */
export const whenText = (at: Instant, now: Instant): string => `${absoluteText(at)} (${relativeText(at, now)})`;
