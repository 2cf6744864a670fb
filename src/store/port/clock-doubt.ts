import type { DurationMs, Instant } from "../../domain/time.ts";

/**
 * The server's clock could not be followed: from `from` to `to` silence proves nothing. `stepped`: it moved by `byMs` against this host's
 * monotonic clock. `unsampled`: its answer took too long to tell its time.
 */
export interface ClockDoubt {
  readonly kind: "stepped" | "unsampled";
  readonly from: Instant;
  readonly to: Instant;
  /** 0 when unsampled. */
  readonly byMs: DurationMs;
}
