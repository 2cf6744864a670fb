import fc from "fast-check";
import { expect, test } from "vitest";
import { formatDuration, formatSize, inSeconds, parseDuration, parseSize, spanText } from "./durations.ts";

test.each([
  ["250ms", 250],
  ["600s", 600_000],
  ["2h", 7_200_000],
  ["1.5h", 5_400_000],
  ["0.1s", 100],
  ["7d", 604_800_000],
  ["0s", 0],
])("%s is %d ms", (text, ms) => {
  expect(parseDuration(text)).toEqual({ ok: true, value: ms });
});

test("a number without a unit is refused, and the rule says how to write it", () => {
  expect(parseDuration(600)).toEqual({ ok: false, rule: "needs a unit: write 600s for seconds, or ms, m, h, d" });
});

test.each(["600", "", "s", "-1s", "1 h", "1h30m", "1e3s", "0x10s", "1.5ms", "999999999999999d", null, true, [], {}])(
  "%j is no duration",
  (input) => {
    expect(parseDuration(input).ok).toBe(false);
  },
);

test.each([
  [1024, 1024],
  ["500MB", 500_000_000],
  ["16MiB", 16_777_216],
  ["1.5KiB", 1536],
  ["0B", 0],
])("%j is %d bytes", (input, bytes) => {
  expect(parseSize(input)).toEqual({ ok: true, value: bytes });
});

test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "500", "5mb", "500 MB", null])("%j is no size", (input) => {
  expect(parseSize(input).ok).toBe(false);
});

test("every duration and size is read back from the text that is shown for it", () => {
  fc.assert(
    fc.property(fc.nat({ max: 400 * 86_400_000 }), (value) => {
      expect(parseDuration(formatDuration(value))).toEqual({ ok: true, value });
      expect(parseSize(formatSize(value))).toEqual({ ok: true, value });
    }),
  );
});

test.each([
  [0, "0 ms"],
  [999, "999 ms"],
  [1000, "1 s"],
  [4250, "4.3 s"],
  [60_000, "1 min"],
  [3_725_000, "1 h 2 min"],
  [90_000_000, "1 d 1 h"],
])("%i ms is said as %s", (ms, text) => {
  expect(spanText(ms)).toBe(text);
});

test.each([
  [0, "0 s"],
  [250, "0.25 s"],
  [9999, "10 s"],
  [600_400, "600 s"],
])("%i ms are %s in a verdict", (ms, text) => {
  expect(inSeconds(ms)).toBe(text);
});
