import { ageMs, type DurationMs, type Instant } from "../domain/time.ts";

/** What is known of a daemon by its row. */
export interface HeardDaemon {
  readonly heardAt: Instant;
  /** When it stopped in order. */
  readonly endedAt: Instant | null;
}

/** Whether a daemon may be at work: it has neither stopped nor been silent for `deadAfterMs`. */
export const isLivingDaemon = (
  { heardAt, endedAt }: HeardDaemon,
  { deadAfterMs }: { readonly deadAfterMs: DurationMs },
  now: Instant,
): boolean => endedAt === null && ageMs(heardAt, now) < deadAfterMs;
