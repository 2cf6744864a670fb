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

  test("deaf time within deaf time counts once, in whatever order it was noticed", () => {
    const slow = addDeaf(newVantage(), { from: at(20), to: at(25), cause: "slow_query" });
    const within = addDeaf(slow, { from: at(10), to: at(30), cause: "store_unreachable" });
    expect(heardAt0(within, 40)).toMatchObject({ deafMs: 20_000, silentMs: 20_000, earned: true });
    expect(heardAt0(beginDeaf(slow, "store_unreachable", at(10)), 40)).toMatchObject({ deafMs: 30_000, silentMs: 10_000, earned: false });
  });

  test("after the last deaf interval everyone has the time of two renewals to be heard again", () => {
    const deaf = addDeaf(newVantage(), { from: at(35), to: at(40), cause: "process_down" });
    expect(heardAt0(deaf, 49.999)).toMatchObject({ silentMs: 44_999, earned: false, earnedInMs: 1 });
    expect(heardAt0(deaf, 50)).toMatchObject({ silentMs: 45_000, earned: true });
  });

  test("a deaf interval before the last sign of life takes nothing away", () => {
    const deaf = addDeaf(newVantage(), { from: at(-60), to: at(0), cause: "process_down" });
    expect([5, 30].map((now) => heardAt0(deaf, now))).toMatchObject([
      { deafMs: 0, earned: true },
      { deafMs: 0, earnedInMs: 0 },
    ]);
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
      [100, 200],
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

  test("a watcher without a past was never deaf, and judges by the settings of today", () => {
    expect(wakeVantage({ previous: undefined, lastAliveAt: undefined, now: at(0) })).toEqual(newVantage());
    const previous = addDeaf(newVantage({ reannounceMs: 1, cleanMs: 1 }), { from: at(0), to: at(1), cause: "stalled" });
    const woken = wakeVantage({ previous, lastAliveAt: undefined, now: at(2), settings: { reannounceMs: 4000 } });
    expect(woken).toEqual({ ...newVantage({ reannounceMs: 4000 }), intervals: previous.intervals });
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

  test("the doubt ends at ten times the limit, once as much was heard in pieces as everyone needs to be heard again", () => {
    const untilSecond = (to: number) => addDeaf(newVantage(), { from: at(5), to: at(to), cause: "process_down" });
    expect(heardAt0(untilSecond(200), 299.999)).toMatchObject({ deafMs: 195_000, silentMs: 104_999 });
    expect(heardAt0(untilSecond(200), 300)).toEqual({
      sinceHeardMs: 300_000,
      deafMs: 0,
      silentMs: 300_000,
      earned: true,
      earnedInMs: 0,
    });
    expect(heardAt0(untilSecond(390), 399.999)).toMatchObject({ silentMs: 14_999, earned: false, earnedInMs: 1 });
    expect(heardAt0(untilSecond(390), 400)).toMatchObject({ deafMs: 0, silentMs: 400_000, earned: true });
  });

  test("a silence that would count if its scope were not frozen is looked at again a second later", () => {
    const silence = heardAt0(newVantage(), 30);
    expect([29_999, 30_000, 30_001].map((limitMs) => silentNotBefore(silence, limitMs, at(30)))).toEqual([at(31), at(31), at(30.001)]);
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
  test("an interval that is empty or runs backward is none, and what has not begun does not end", () => {
    const vantage = newVantage();
    expect([at(5), at(4)].map((to) => addDeaf(vantage, { from: at(5), to, cause: "stalled" }))).toEqual([vantage, vantage]);
    expect(endDeaf(vantage, "stalled", at(5))).toBe(vantage);
  });

  test("who is deaf already stays deaf since then", () => {
    const deaf = beginDeaf(newVantage(), "store_unreachable", at(5));
    expect(beginDeaf(deaf, "store_unreachable", at(9)).open).toEqual({ store_unreachable: at(5) });
  });

  test("intervals are in the order of their start, whenever they were noticed, and kept for as long as is said", () => {
    const settings = { rememberMs: 50_000 };
    const starts = (last: number) =>
      [30, 10, 20, last].reduce((v, from) => addDeaf(v, { from: at(from), to: at(from + 1), cause: "stalled" }), newVantage(settings))
        .intervals;
    expect(starts(60).map(({ from }) => from)).toEqual([10, 20, 30, 60].map(at));
    expect(starts(60.001).map(({ from }) => from)).toEqual([20, 30, 60.001].map(at));
  });

  test("what is joined was suspended only if all of it was, for sleep never ends a doubt", () => {
    const join = (...causes: readonly DeafCause[]) =>
      causes.reduce((v, cause, i) => addDeaf(v, { from: at(10 * i), to: at(10 * i + 5), cause }), newVantage({ intervalsMax: 1 }))
        .intervals;
    const whole = { from: at(0), to: at(15) };
    expect(join("suspended", "suspended")).toEqual([{ ...whole, cause: "suspended" }]);
    expect(join("suspended", "stalled")).toEqual([{ ...whole, cause: "stalled" }]);
    expect(join("slow_query", "suspended")).toEqual([{ ...whole, cause: "slow_query" }]);
    const within = [
      { from: at(0), to: at(90), cause: "stalled" },
      { from: at(10), to: at(20), cause: "stalled" },
      { from: at(95), to: at(96), cause: "stalled" },
    ] as const;
    expect(within.reduce(addDeaf, newVantage({ intervalsMax: 2 })).intervals).toEqual([within[0], within[2]]);
  });

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
    for (const now of [500, 600]) ({ vantage } = observeScope(vantage, { ...seen, canary: "unknown", now: at(now) }));
    expect(vantage.scopes).toEqual({ workers: { mode: "frozen", since: at(0) } });
    expect(isSilent(viewOf(vantage, "workers"), { channel: "files", lastHeardAt: at(0), limitMs: 1, now: at(500) }).silent).toBe(false);
    ({ vantage } = observeScope(vantage, { ...seen, turnedSilent: 40, now: at(610) }));
    expect(observeScope(vantage, { ...seen, turnedSilent: 40, now: at(670) }).change).toMatchObject({ from: "frozen", to: "limited" });
    expect(viewOf(vantage, "instances:x:y").mode).toBe("normal");
  });

  test("only those count that turned silent within one timeout and are not proved dead", () => {
    const counted = (heard: number, provedDead = false) =>
      countTurnedSilent([{ lastHeardAt: at(heard), provedDead }], { limitMs: 30_000, now: at(70) });
    expect([0, 10, 10.001, 40, 40.001, 69].map((heard) => counted(heard))).toEqual([0, 0, 1, 1, 0, 0]);
    expect([10.001, 40].map((heard) => counted(heard, true))).toEqual([0, 0]);
  });
});
