import type { Instant } from "../domain/time.ts";
import type { HostClock } from "./clock.ts";
import { type ClockStep, createStoreClock } from "./store-clock.ts";

/** The disciplined clock as a store opens it: begun before the store is read, and raised once to the newest instant found there. */
export interface FlooredClock {
  now(): Instant;
  mono(): number;
  floor(newest: Instant): void;
  aheadOfWallMs(): number;
}

export function createFlooredClock({
  host,
  onStep,
}: {
  readonly host: HostClock;
  readonly onStep: (step: ClockStep) => void;
}): FlooredClock {
  let clock = createStoreClock({ host, onStep });
  return {
    now: () => clock.now(),
    mono: () => host.mono(),
    floor: (newest) => {
      if (newest > clock.now()) clock = createStoreClock({ host, newestStoredAt: newest, onStep });
    },
    aheadOfWallMs: () => clock.aheadOfWallMs(),
  };
}
