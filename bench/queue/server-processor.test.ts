import { expect, test } from "vitest";
import { parseStat } from "./server-processor.ts";

test("a process' times are found behind a name with brackets and spaces", () => {
  const line = "4711 (postgres: a (b) c) S 17 4711 4711 0 -1 4194560 900 800 7 6 11 22 33 44 20 0 1 0 123456 99999 5000";
  expect(parseStat(line)).toEqual({ parent: 17, ticks: 33, endedChildrenTicks: 77 });
});
