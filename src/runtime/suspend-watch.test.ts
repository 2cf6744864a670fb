import { expect, test } from "vitest";
import { FakeClock } from "./fake-clock.ts";
import { findClockEvents, sampleOf } from "./suspend-watch.ts";

function between(happen: (host: FakeClock) => void, options: { boot?: boolean } = {}) {
  const host = new FakeClock(options.boot === false ? { bootMs: undefined } : {});
  const before = sampleOf(host);
  happen(host);
  return findClockEvents(before, sampleOf(host), { periodMs: 1000 });
}

test("a look in time, or a little late, finds nothing", () => {
  expect(between((host) => host.advance(1000))).toEqual([]);
  expect(between((host) => host.advance(5900))).toEqual([]);
});

test("all clocks moved on but nobody looked: the process was paused", () => {
  const findings = between((host) => host.advance(90_000));
  expect(findings).toEqual([{ kind: "stalled", deafMs: 90_000 }]);
});

test("boot and wall moved without the monotonic clock: the machine slept", () => {
  const findings = between((host) => {
    host.advance(1000);
    host.suspend(3_600_000);
  });
  expect(findings).toEqual([{ kind: "suspended", deafMs: 3_601_000, suspendedMs: 3_600_000 }]);
});

test("the wall alone moved: a step, forward or back, and no time in which nothing could be heard", () => {
  for (const byMs of [7_200_000, -7_200_000]) {
    const findings = between((host) => {
      host.advance(1000);
      host.stepWall(byMs);
    });
    expect(findings).toEqual([{ kind: "stepped", deafMs: 0, byMs }]);
  }
});

test("without a boot clock a forward jump of the wall counts as deaf time, a backward one does not", () => {
  const jump = (byMs: number) =>
    between(
      (host) => {
        host.advance(1000);
        host.stepWall(byMs);
      },
      { boot: false },
    );
  expect(jump(60_000)).toEqual([{ kind: "stepped", deafMs: 61_000, byMs: 60_000 }]);
  expect(jump(-60_000)).toEqual([{ kind: "stepped", deafMs: 0, byMs: -60_000 }]);
});

test("what happened together is told apart: asleep, then set, then paused", () => {
  const findings = between((host) => {
    host.suspend(600_000);
    host.stepWall(-50_000);
    host.advance(30_000);
  });
  expect(findings.map((finding) => finding.kind)).toEqual(["stalled", "suspended", "stepped"]);
  expect(findings[1]).toMatchObject({ deafMs: 630_000 });
});

test("drift that NTP corrects between rare looks is no step", () => {
  const host = new FakeClock();
  const before = sampleOf(host);
  host.advance(3_600_000);
  host.stepWall(1500);
  expect(findClockEvents(before, sampleOf(host), { periodMs: 3_600_000 })).toEqual([]);
});
