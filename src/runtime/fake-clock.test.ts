import { expect, test } from "vitest";
import { FakeClock } from "./fake-clock.ts";

const read = (clock: FakeClock) => [clock.wall(), clock.mono(), clock.boot()];

test("the three clocks move together, and apart where a real host's would", () => {
  const clock = new FakeClock({ wallMs: 1_000_000, monoMs: 0, bootMs: 500 });
  clock.advance(10);
  expect(read(clock)).toEqual([1_000_010, 10, 510]);
  clock.suspend(100);
  expect(read(clock)).toEqual([1_000_110, 10, 610]);
  clock.stepWall(-1_000);
  expect(read(clock)).toEqual([999_110, 10, 610]);
  clock.reboot(5);
  expect(read(clock)).toEqual([999_115, 0, 0]);
});

test("a platform without a boot clock never gets one", () => {
  const clock = new FakeClock({ bootMs: undefined });
  clock.advance(10);
  clock.reboot();
  expect(clock.boot()).toBeUndefined();
});
