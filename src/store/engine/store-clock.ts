import type { Instant } from "../../domain/time.ts";

/** The clock that ages are computed with, as the embedded engine is given it; the server engine has its server's. */
export interface StoreClock {
  now(): Instant;
  /** Called once, at the opening, with the newest instant that the store holds: the clock never answers less. */
  floor?(newest: Instant): void;
  /**
   * Monotonic milliseconds, by which a server engine carries its server's time on between two looks at it. Absent: `now()` is the
   * store's clock on every engine, as tests want it.
   */
  mono?(): number;
}
