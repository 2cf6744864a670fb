import { expect, test } from "vitest";
import { partOf } from "./turns.ts";

const lanes = { atOnce: 2, rowsMin: 100, rowsMax: 250 };

test("little is one transaction, more is dealt out evenly, and no transaction is larger than the limit", () => {
  expect([10, 100, 150, 200, 300, 500, 1000].map((rows) => partOf(rows, lanes))).toEqual([100, 100, 100, 100, 150, 250, 250]);
});

test("a store that works on one transaction at a time divides nothing", () => {
  const group = { atOnce: 1, rowsMin: 1000, rowsMax: 1000 };
  expect([1, 500, 1000].map((rows) => partOf(rows, group))).toEqual([1000, 1000, 1000]);
});
