import { expect, test } from "vitest";
import { absoluteText, relativeText, whenText } from "./instant-text.ts";
import { addMs, asInstant, type Instant } from "./time.ts";

const start = asInstant(Date.UTC(2026, 0, 1));
const at = (ms: number): Instant => addMs(start, ms);

test("the present is neither past nor future", () => {
  expect([relativeText(start, start), relativeText(start, at(1)), relativeText(at(1000), start)]).toEqual(["now", "1 ms ago", "in 1 s"]);
});

test("an instant is told to the second, and how far it is", () => {
  expect(absoluteText(at(999))).toBe("2026-01-01 00:00:00Z");
  expect(whenText(start, at(185_000))).toBe("2026-01-01 00:00:00Z (3 min 5 s ago)");
});
