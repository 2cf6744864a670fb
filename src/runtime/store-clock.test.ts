import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { asInstant } from "../domain/time.ts";
import { systemClock } from "./clock.ts";
import { FakeClock } from "./fake-clock.ts";
import { createStoreClock } from "./store-clock.ts";

const start = Date.UTC(2026, 0, 1);

function disciplined(options: { newestStoredAt?: number; boot?: boolean } = {}) {
  const host = new FakeClock(options.boot === false ? { bootMs: undefined } : {});
  const newestStoredAt = options.newestStoredAt === undefined ? undefined : asInstant(options.newestStoredAt);
  return { host, clock: createStoreClock({ host, newestStoredAt }) };
}

describe("the store's clock", () => {
  test("starts at the wall and goes on with time", () => {
    const { host, clock } = disciplined();
    host.advance(1234);
    expect(clock.now()).toBe(start + 1234);
  });

  test("never starts below the newest stored instant, and comes back to the wall by 5 % of what elapses", () => {
    const { host, clock } = disciplined({ newestStoredAt: start + 10_000 });
    expect(clock.now()).toBe(start + 10_000);
    expect(clock.aheadOfWallMs()).toBe(10_000);
    host.advance(100_000);
    expect(clock.now()).toBe(start + 10_000 + 95_000);
    host.advance(200_000);
    expect(clock.now()).toBe(start + 300_000);
  });

  test("a step of the wall is never an age, either way", () => {
    for (const byMs of [3_600_000, -3_600_000]) {
      const { host, clock } = disciplined();
      host.stepWall(byMs);
      host.advance(1000);
      expect(clock.now() - start).toBe(byMs > 0 ? 1050 : 950);
    }
  });

  test("a suspend counts as time where the platform shows it", () => {
    const { host, clock } = disciplined();
    host.suspend(3_600_000);
    expect(clock.now()).toBe(start + 3_600_000);
  });

  test("without a boot clock a suspend looks like a step, and ages do not leap with it", () => {
    const { host, clock } = disciplined({ boot: false });
    host.advance(1000);
    host.suspend(3_600_000);
    expect(clock.now()).toBe(start + 1050);
  });

  test("it never goes back and never leaps: what it adds is what elapsed, give or take 5 %", () => {
    const move = fc.oneof(
      fc.record({ kind: fc.constant("advance" as const), ms: fc.integer({ min: 0, max: 100_000 }) }),
      fc.record({ kind: fc.constant("suspend" as const), ms: fc.integer({ min: 100, max: 10_000_000 }) }),
      fc.record({ kind: fc.constant("step" as const), ms: fc.integer({ min: -100_000_000, max: 100_000_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(move, { maxLength: 60 }), fc.integer({ min: -10_000_000, max: 10_000_000 }), (moves, aheadMs) => {
        const { host, clock } = disciplined({ newestStoredAt: start + aheadMs });
        let before = clock.now();
        expect(before).toBeGreaterThanOrEqual(start + aheadMs);
        for (const { kind, ms } of moves) {
          if (kind === "advance") host.advance(ms);
          else if (kind === "suspend") host.suspend(ms);
          else host.stepWall(ms);
          const elapsedMs = kind === "step" ? 0 : ms;
          const now = clock.now();
          expect(now).toBeGreaterThanOrEqual(before + Math.floor(elapsedMs * 0.95) - 1);
          expect(now).toBeLessThanOrEqual(before + Math.ceil(elapsedMs * 1.05) + 1);
          before = now;
        }
      }),
    );
  });

  test("a store that is opened later raises it to its newest instant, and never lowers it", () => {
    const { clock } = disciplined();
    clock.floor(asInstant(start + 5_000));
    expect(clock.now()).toBe(start + 5_000);
    clock.floor(asInstant(start));
    expect(clock.now()).toBe(start + 5_000);
  });

  test("a suspend that a step of the wall hides is still counted, within a second", () => {
    const { host, clock } = disciplined();
    host.suspend(60_000);
    host.stepWall(-60_000);
    host.advance(1_000);
    expect(clock.now()).toBeGreaterThanOrEqual(start + 61_000 * 0.95 - 1);
  });

  test("the file of the boot clock is not read for every answer", () => {
    const { host, clock } = disciplined();
    let looks = 0;
    const boot = host.boot.bind(host);
    host.boot = () => {
      looks++;
      return boot();
    };
    for (let each = 0; each < 1000; each++) {
      host.advance(1);
      clock.now();
    }
    expect(looks).toBeLessThanOrEqual(2);
  });

  test("this host's own clocks carry it", () => {
    const host = systemClock();
    const clock = createStoreClock({ host });
    const [first, mono, boot] = [clock.now(), host.mono(), host.boot()];
    expect(Math.abs(first - host.wall())).toBeLessThan(5_000);
    expect(host.mono()).toBeGreaterThanOrEqual(mono);
    if (boot !== undefined) expect(host.boot()).toBeGreaterThanOrEqual(boot);
    expect(clock.now()).toBeGreaterThanOrEqual(first);
  });
});
