import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { at } from "../../test/support/judged-run.ts";
import type { Channel } from "./evidence.ts";
import {
  addDeaf,
  beginDeaf,
  type DeafCause,
  defaultVantageSettings,
  endDeaf,
  isSilent,
  isUnstable,
  newVantage,
  silenceOf,
  silentNotBefore,
  type Vantage,
  viewOf,
  wakeVantage,
} from "./vantage.ts";
import { countTurnedSilent, observeScope, silentAllowed } from "./vantage-mode.ts";

const heardAt0 = (vantage: Vantage, now: number, channel: Channel = "throughMe") =>
  silenceOf(vantage, { channel, lastHeardAt: at(0), limitMs: 30_000, now: at(now) });

describe("silence", () => {
  test("without deaf time it is the time since the subject was heard", () => {
    expect(heardAt0(newVantage(), 30)).toEqual({ sinceHeardMs: 30_000, deafMs: 0, silentMs: 30_000, earned: true, earnedInMs: 0 });
  });

  test("deaf time is left out, overlapping intervals count once", () => {
    const twice = addDeaf(addDeaf(newVantage(), { from: at(5), to: at(15), cause: "slow_query" }), {
      from: at(10),
      to: at(20),
      cause: "store_unreachable",
    });
    expect(heardAt0(twice, 40)).toMatchObject({ deafMs: 15_000, silentMs: 25_000, earned: true });
  });

  test("after the last deaf interval everyone has the time of two renewals to be heard again", () => {
    const deaf = addDeaf(newVantage(), { from: at(35), to: at(40), cause: "process_down" });
    expect(heardAt0(deaf, 49.999)).toMatchObject({ silentMs: 44_999, earned: false, earnedInMs: 1 });
    expect(heardAt0(deaf, 50)).toMatchObject({ silentMs: 45_000, earned: true });
  });

  test("a deaf interval before the last sign of life takes nothing away", () => {
    const deaf = addDeaf(newVantage(), { from: at(-60), to: at(0), cause: "process_down" });
    expect(heardAt0(deaf, 30)).toMatchObject({ deafMs: 0, earned: true });
  });

  test("while deaf, nothing is silent; it counts again from the end", () => {
    const deaf = beginDeaf(newVantage(), "store_unreachable", at(10));
    expect(heardAt0(deaf, 100)).toMatchObject({ silentMs: 10_000, earned: false });
    expect(heardAt0(endDeaf(deaf, "store_unreachable", at(100)), 130)).toMatchObject({ silentMs: 40_000, earned: true });
  });

  test("each cause makes only its own channels deaf: beats that others wrote are there after a restart", () => {
    const channels: Channel[] = ["throughMe", "throughStore", "files"];
    const deafIn = (cause: DeafCause) =>
      channels.filter((channel) => heardAt0(addDeaf(newVantage(), { from: at(1), to: at(5), cause }), 40, channel).deafMs > 0);
    expect(deafIn("process_down")).toEqual(["throughMe"]);
    expect(deafIn("store_unreachable")).toEqual(["throughMe", "throughStore"]);
    expect(deafIn("suspended")).toEqual(channels);
  });

  test("a machine that slept for hours doubts no less for it: sleep never counts towards the end of doubt", () => {
    const slept = addDeaf(newVantage(), { from: at(5), to: at(8 * 3600), cause: "suspended" });
    expect(heardAt0(slept, 8 * 3600 + 20)).toMatchObject({ silentMs: 25_000 });
  });

  test("a daemon that was down for a night gives everyone two renewals", () => {
    const woken = wakeVantage({ previous: undefined, lastAliveAt: at(5), now: at(8 * 3600) });
    expect(heardAt0(woken, 8 * 3600 + 9.9).earned).toBe(false);
  });

  test("what was deaf in a future that never came, before the clock was set right, is forgotten", () => {
    const before = [
      [10, 50],
      [80, 3600],
      [4000, 5000],
    ].reduce(
      (vantage, [from = 0, to = 0]) => addDeaf(vantage, { from: at(from), to: at(to), cause: "process_down" }),
      newVantage({ rememberMs: 1e9 }),
    );
    const woken = wakeVantage({ previous: before, lastAliveAt: at(95), now: at(100) });
    expect(woken.intervals).toEqual([
      { from: at(10), to: at(50), cause: "process_down" },
      { from: at(80), to: at(100), cause: "process_down" },
      { from: at(95), to: at(100), cause: "process_down" },
    ]);
    expect(heardAt0(woken, 140)).toMatchObject({ earned: true });
  });

  test("a watcher that crashes every few seconds still judges: past ten times the limit its pieces of hearing count", () => {
    let vantage: Vantage | undefined;
    let judgedAt: number | undefined;
    // Up for 3 s, down for 4 s, for ever; what it knew is stored at each start.
    for (let start = 0; start < 700 && judgedAt === undefined; start += 7) {
      vantage = JSON.parse(JSON.stringify(wakeVantage({ previous: vantage, lastAliveAt: at(start - 4), now: at(start) }))) as Vantage;
      for (let second = start; second < start + 3; second += 1) {
        const query = { channel: "throughMe", lastHeardAt: at(-10), limitMs: 30_000, now: at(second) } as const;
        if (isSilent(viewOf(vantage, "workers"), query).silent) judgedAt ??= second;
      }
    }
    expect(judgedAt).toBeGreaterThanOrEqual(290);
    expect(judgedAt).toBeLessThan(300);
  });

  test("the instant before which a silence cannot count is never too late, and always ahead", () => {
    const interval = fc.record({ from: fc.integer({ min: 0, max: 300 }), length: fc.integer({ min: 1, max: 60 }) });
    fc.assert(
      fc.property(fc.array(interval, { maxLength: 8 }), fc.integer({ min: 0, max: 400 }), (intervals, now) => {
        let vantage = newVantage();
        for (const { from, length } of intervals)
          vantage = addDeaf(vantage, { from: at(from), to: at(from + length), cause: "slow_query" });
        const view = viewOf(vantage, "workers");
        const silentAt = (second: number) =>
          isSilent(view, { channel: "throughMe", lastHeardAt: at(0), limitMs: 30_000, now: at(second) }).silent;
        // Only a past without future intervals is knowable at `now`.
        fc.pre(intervals.every(({ from, length }) => from + length <= now) && now < 299 && !silentAt(now));
        const notBefore = silentNotBefore(heardAt0(vantage, now), 30_000, at(now));
        expect(notBefore).toBeGreaterThan(at(now));
        for (let second = now + 1; second < 300; second += 1) if (silentAt(second)) return notBefore <= at(second);
        return true;
      }),
    );
  });
});

describe("memory and stability", () => {
  test("more than five deaf intervals in ten minutes are unstable", () => {
    let vantage = newVantage();
    for (let minute = 0; minute < 5; minute += 1)
      vantage = addDeaf(vantage, { from: at(60 * minute), to: at(60 * minute + 1), cause: "stalled" });
    expect(isUnstable(vantage, at(300))).toBe(false);
    vantage = beginDeaf(vantage, "store_unreachable", at(299));
    expect(isUnstable(vantage, at(300))).toBe(true);
    expect(isUnstable(endDeaf(vantage, "store_unreachable", at(300)), at(601))).toBe(false);
  });

  test("memory is bounded: the oldest intervals are joined, which only prolongs the doubt", () => {
    let vantage = newVantage({ intervalsMax: 16 });
    for (let i = 0; i < 1000; i += 1) vantage = addDeaf(vantage, { from: at(10 * i), to: at(10 * i + 1), cause: "slow_query" });
    expect(vantage.intervals).toHaveLength(16);
    expect(silenceOf(vantage, { channel: "throughMe", lastHeardAt: at(0), limitMs: 1e9, now: at(10_000) }).deafMs).toBeGreaterThan(
      1_000_000,
    );
    const later = at(10_000 + defaultVantageSettings.rememberMs / 1000);
    expect(
      addDeaf(vantage, { from: later, to: at(20_000 + defaultVantageSettings.rememberMs / 1000), cause: "stalled" }).intervals,
    ).toHaveLength(1);
  });
});

describe("modes", () => {
  const seen = { scope: "workers", total: 50, turnedSilent: 0, canary: "ok" } as const;

  test("more than two, or a fifth of all, at once: limited; a clean minute ends it", () => {
    expect([1, 3, 10, 50].map(silentAllowed)).toEqual([2, 2, 2, 10]);
    expect(observeScope(newVantage(), { ...seen, turnedSilent: 10, now: at(0) }).change).toBeUndefined();
    let { vantage, change } = observeScope(newVantage(), { ...seen, turnedSilent: 11, now: at(0) });
    expect(change).toEqual({ scope: "workers", from: "normal", to: "limited", turnedSilent: 11, total: 50 });
    ({ vantage } = observeScope(vantage, { ...seen, now: at(10) }));
    ({ vantage } = observeScope(vantage, { ...seen, turnedSilent: 20, now: at(60) }));
    ({ vantage } = observeScope(vantage, { ...seen, now: at(70) }));
    ({ vantage, change } = observeScope(vantage, { ...seen, now: at(129.9) }));
    expect([viewOf(vantage, "workers").mode, change]).toEqual(["limited", undefined]);
    expect(observeScope(vantage, { ...seen, now: at(130) }).change).toMatchObject({ to: "normal" });
  });

  test("a failing canary freezes the scope, an unknown one neither freezes nor thaws", () => {
    expect(observeScope(newVantage(), { ...seen, canary: "unknown", now: at(0) }).change).toBeUndefined();
    let { vantage } = observeScope(newVantage(), { ...seen, canary: "failing", now: at(0) });
    ({ vantage } = observeScope(vantage, { ...seen, canary: "unknown", now: at(500) }));
    expect(viewOf(vantage, "workers").mode).toBe("frozen");
    expect(isSilent(viewOf(vantage, "workers"), { channel: "files", lastHeardAt: at(0), limitMs: 1, now: at(500) }).silent).toBe(false);
    ({ vantage } = observeScope(vantage, { ...seen, turnedSilent: 40, now: at(510) }));
    expect(observeScope(vantage, { ...seen, turnedSilent: 40, now: at(570) }).change).toMatchObject({ from: "frozen", to: "limited" });
    expect(viewOf(vantage, "instances:x:y").mode).toBe("normal");
  });

  test("only those count that turned silent within one timeout and are not proved dead", () => {
    const subjects = [0, 25, 31, 69.9].map((heard) => ({ lastHeardAt: at(heard), provedDead: heard === 31 }));
    expect(countTurnedSilent(subjects, { limitMs: 30_000, now: at(70) })).toBe(1);
  });
});
