import { expect, test } from "vitest";
import { compare, isShort, type Measure, orderOf, type Pair } from "./comparison.ts";

const took: Measure = { name: "took", unit: "ms", better: "lower", worseMax: 0.07 };
const speed: Measure = { name: "speed", unit: "jobs/s", better: "higher", worseMax: 0.07 };
const pairsOf = (...values: readonly (readonly [number | null, number | null])[]): Pair[] => values.map(([base, tree]) => ({ base, tree }));

test("the sides go first in turns", () => {
  expect([1, 2, 3].map(orderOf)).toEqual([
    ["base", "tree"],
    ["tree", "base"],
    ["base", "tree"],
  ]);
});

test("the ratio is taken within each round: a machine that slows down says nothing of the tree", () => {
  // The medians alone would say 20 to 30: half as slow again.
  const { ratio, ratioMin, ratioMax, n, holds, base, tree } = compare(took, pairsOf([10, 10], [20, 19], [10, 30], [30, 30], [40, 41]));
  expect({ ratio, ratioMin, ratioMax, n, holds, base, tree }).toEqual({
    ratio: 1,
    ratioMin: 0.95,
    ratioMax: 3,
    n: 5,
    holds: true,
    base: 20,
    tree: 30,
  });
});

test("what takes longer is worse, and seven percent is the last that holds", () => {
  expect(compare(took, pairsOf([100, 107]))).toMatchObject({ bound: "<= 1.07", holds: true });
  expect(compare(took, pairsOf([1000, 1071]))).toMatchObject({ holds: false });
  expect(compare(took, pairsOf([100, 10]))).toMatchObject({ holds: true });
  expect(compare({ ...took, worseMax: 0.04 }, pairsOf([100, 105]))).toMatchObject({ bound: "<= 1.04", holds: false });
});

test("what does less in a second is worse", () => {
  expect(compare(speed, pairsOf([100, 93]))).toMatchObject({ bound: ">= 0.93", holds: true });
  expect(compare(speed, pairsOf([1000, 929]))).toMatchObject({ holds: false });
  expect(compare(speed, pairsOf([100, 1000]))).toMatchObject({ holds: true });
});

test("an even number of rounds favours no side", () => {
  expect(compare(took, pairsOf([10, 10], [10, 12])).ratio).toBeCloseTo(1.1);
  expect(compare(took, pairsOf([10, 12], [10, 10], [10, 40], [10, 5]))).toMatchObject({ ratio: 1.1, holds: false, base: 10, tree: 11 });
});

test("a tree that fails where the base does not is worse, whatever the other rounds say", () => {
  const comparison = compare(took, pairsOf([10, 9], [10, null], [10, 9]));
  expect(comparison).toMatchObject({ holds: false, n: 2, note: "the tree alone failed in 1 of 3" });
  expect(isShort(comparison)).toBe(true);
});

test("a base that fails leaves the verdict to the other rounds, and to nobody when they are fewer than half", () => {
  expect(compare(took, pairsOf([null, 9], [10, 10]))).toMatchObject({ holds: true, n: 1, note: "1 of 2 could not be compared" });
  const few = compare(took, pairsOf([null, 9], [null, null], [10, 10]));
  expect(few).toMatchObject({ holds: null, n: 1, ratio: 1, note: "2 of 3 could not be compared" });
  expect(isShort(few)).toBe(true);
});

test("without a pair there is neither a ratio nor a verdict", () => {
  expect(compare(took, [])).toMatchObject({ base: null, tree: null, ratio: null, ratioMin: null, ratioMax: null, n: 0, holds: null });
  // Nothing can be divided by a base of zero.
  expect(compare(took, pairsOf([0, 3]))).toMatchObject({ base: 0, tree: 3, ratio: null, holds: null });
});

test("a figure that is only shown holds neither way and fails nobody", () => {
  const shown = compare({ ...took, worseMax: null }, pairsOf([10, 40]));
  expect(shown).toMatchObject({ bound: "none", ratio: 4, holds: null });
  expect(isShort(shown)).toBe(false);
});
