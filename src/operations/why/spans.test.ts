import { expect, test } from "vitest";
import { at, start } from "../../../test/support/story-facts.ts";
import { relativeText, spanText } from "./spans.ts";

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

test("the present is neither past nor future", () => {
  expect([relativeText(start, start), relativeText(start, at(1)), relativeText(at(1000), start)]).toEqual(["now", "1 ms ago", "in 1 s"]);
});
