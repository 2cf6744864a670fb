import type { Instant } from "../domain/time.ts";
import type { HostClock } from "./clock.ts";
import { createStoreClock } from "./store-clock.ts";

/** The disciplined clock as a store opens it: begun before the store is read, and raised once to the newest instant found there. */
export interface FlooredClock {
  now(): Instant;
  mono(): number;
  floor(newest: Instant): void;
  aheadOfWallMs(): number;
}

export function createFlooredClock(host: HostClock): FlooredClock {
  let clock = createStoreClock({ host });
  return {
    now: () => clock.now(),
    mono: () => host.mono(),
    floor: (newest) => {
      if (newest > clock.now()) clock = createStoreClock({ host, newestStoredAt: newest });
    },
    aheadOfWallMs: () => clock.aheadOfWallMs(),
  };
}
