import { expect, test } from "vitest";
import { Readings } from "./readings.ts";

const target = { name: "a beside b", unit: "x b", bound: { atLeast: 2 }, of: "a", over: "b", key: "perSecond" };

test("a ratio is taken within its round, and only where both cells measured something", () => {
  const readings = new Readings();
  readings.add(1, "a", { perSecond: 20 });
  readings.add(1, "b", { perSecond: 10 });
  readings.add(2, "b", { perSecond: 100 });
  readings.add(3, "a", { perSecond: 90 });
  readings.add(3, "b", { perSecond: 30 });
  readings.add(4, "a", { perSecond: 50 });
  readings.add(4, "b", { perSecond: null });
  expect(readings.ratios("a", "b", "perSecond")).toEqual([2, 3]);
  expect(readings.target(target)).toMatchObject({ value: 2, unit: "x b", target: ">= 2", holds: true, samples: [2, 3] });
});

test("a target does not hold when its own cell failed in a round", () => {
  const readings = new Readings();
  for (const round of [1, 2]) {
    readings.add(round, "a", { perSecond: 30 });
    readings.add(round, "b", { perSecond: 10 });
  }
  readings.fail("b", "round 3: the peer hung");
  expect(readings.target(target)).toMatchObject({ value: 3, holds: true });
  readings.fail("a", "round 3: a job is missing");
  expect(readings.target(target)).toMatchObject({ value: 3, holds: false, note: "round 3: a job is missing" });
});

test("a target that was not measured names the cell that is missing", () => {
  const readings = new Readings();
  readings.add(1, "a", { perSecond: 30 });
  expect(readings.target(target)).toMatchObject({ value: null, holds: null, note: "its cells were not asked for" });
  readings.fail("b", "not installed");
  expect(readings.target(target)).toMatchObject({ value: null, holds: null, target: ">= 2", note: "not installed" });
});

test("a value without a peer is judged by itself, and what is no number is left out", () => {
  const readings = new Readings();
  readings.add(1, "a", { walBytes: 900, statements: ["one"] });
  readings.add(2, "a", { walBytes: null, statements: ["two"] });
  expect(readings.target({ name: "WAL", unit: "bytes", bound: { atMost: 1100 }, of: "a", key: "walBytes" })).toMatchObject({
    value: 900,
    target: "<= 1100",
    holds: true,
  });
  expect(readings.last("a", "statements")).toEqual(["two"]);
  expect(readings.plain("WAL", "bytes", "a", "walBytes")).toMatchObject([{ value: 900, target: "none" }]);
  expect(readings.plain("WAL", "bytes", "a", "none")).toEqual([]);
});
