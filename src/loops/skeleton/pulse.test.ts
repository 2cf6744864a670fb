import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Pulse } from "./pulse.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pulseOf = (phase = 0.25): Pulse => new Pulse({ periodMs: 1000, random: () => phase });

test("all waits for the next beat end together, at a phase of their process's own", () => {
  const pulse = pulseOf();
  const woken: string[] = [];
  pulse.after(1000, () => woken.push("a"));
  vi.advanceTimersByTime(200);
  pulse.after(1000, () => woken.push("b"));
  pulse.each(() => woken.push("each"));
  vi.advanceTimersByTime(49);
  expect(woken).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(woken).toEqual(["each", "a", "b"]);
  expect(vi.getTimerCount()).toBe(1);
});

test("a wait of several periods is over after that many beats, never later than it asked for", () => {
  const pulse = pulseOf();
  const woken = vi.fn();
  pulse.after(3000, woken);
  vi.advanceTimersByTime(2249);
  expect(woken).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(woken).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(9000);
  expect(woken).toHaveBeenCalledTimes(1);
});

test("a cancelled wait is not called, and without waits there is no timer", () => {
  const pulse = pulseOf();
  const woken = vi.fn();
  const cancel = pulse.after(1000, woken);
  const stop = pulse.each(woken);
  cancel();
  stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.advanceTimersByTime(5000);
  expect(woken).not.toHaveBeenCalled();
});

test("a wait begun during a beat ends with the next one", () => {
  const pulse = pulseOf(0);
  let beats = 0;
  const again = (): void => {
    beats += 1;
    pulse.after(1000, again);
  };
  pulse.after(1000, again);
  vi.advanceTimersByTime(3000);
  expect(beats).toBe(4);
});

test("only whole periods are counted in beats", () => {
  const pulse = pulseOf();
  expect([250, 1000, 1500, 10_000].map((ms) => pulse.keeps(ms))).toEqual([false, true, false, true]);
});
