import { asInstant, type DurationMs, type Instant } from "../domain/time.ts";
import type { HostClock } from "./clock.ts";

export interface StoreClockOptions {
  readonly host: HostClock;
  /** The newest instant in the store; the clock never says less. */
  readonly newestStoredAt?: Instant | undefined;
  /** Fraction of the elapsed time by which the clock may be corrected towards the wall. Default 0.05, at most 0.5. */
  readonly slewMax?: number | undefined;
}

export interface DisciplinedClock {
  /** The present instant. Never less than any answer before. */
  now(): Instant;
  /** How far this clock is ahead of the wall, negative when it is behind. Large at a start after the wall was set back. */
  aheadOfWallMs(): DurationMs;
  /** To be called with the newest instant of a store when it is opened: from then on no answer is less. */
  floor(newest: Instant): void;
  /** The host's monotonic milliseconds, by which a server engine carries its server's time on between two looks at it. */
  mono(): number;
}

/** Below this, boot and monotonic time differ by their resolutions and not by a suspend. */
const suspendNoticedMs = 100;
/**
 * The boot clock costs a hundred times a read of the others. It is read only when the wall has moved by this much, as in a suspend, and now
 * and then, because the wall may be set back.
 */
const wallMovedMs = 20;
const bootLookMs = 1000;

/**
 * The embedded store's clock: the wall at the start, never below the newest stored instant, carried by the monotonic clock and the suspends
 * that `boot` shows, and drawn towards the wall by at most `slewMax` (decision 0005).
 */
export function createStoreClock(options: StoreClockOptions): DisciplinedClock {
  const { host } = options;
  const slewMax = Math.min(0.5, Math.max(0, options.slewMax ?? 0.05));
  let wall = host.wall();
  let mono = host.mono();
  let sleptBefore = sleepOffset(host, mono);
  let lookedAt = mono;
  let wallOffsetLooked = wall - mono;
  let value = Math.max(wall, options.newestStoredAt ?? 0);

  const advance = (): void => {
    const monoNow = host.mono();
    const wallNow = host.wall();
    let offset = sleptBefore;
    if (monoNow - lookedAt >= bootLookMs || Math.abs(wallNow - monoNow - wallOffsetLooked) >= wallMovedMs) {
      offset = sleepOffset(host, monoNow);
      lookedAt = monoNow;
      wallOffsetLooked = wallNow - monoNow;
    }
    let elapsedMs = Math.max(0, monoNow - mono);
    if (offset !== undefined && sleptBefore !== undefined && offset - sleptBefore >= suspendNoticedMs) {
      elapsedMs += offset - sleptBefore;
      sleptBefore = offset;
    }
    sleptBefore ??= offset;
    mono = monoNow;
    wall = wallNow;
    value += elapsedMs;
    const correctionMax = slewMax * elapsedMs;
    value += Math.min(correctionMax, Math.max(-correctionMax, wallNow - value));
  };

  return {
    now: () => {
      advance();
      return asInstant(Math.floor(value));
    },
    aheadOfWallMs: () => {
      advance();
      return Math.floor(value) - wall;
    },
    floor: (newest) => {
      advance();
      value = Math.max(value, newest);
    },
    mono: () => host.mono(),
  };
}

/** The time since boot that the monotonic clock did not count: the sum of all suspends, and a constant. */
function sleepOffset(host: HostClock, mono: number): number | undefined {
  const boot = host.boot();
  return boot === undefined ? undefined : boot - mono;
}
