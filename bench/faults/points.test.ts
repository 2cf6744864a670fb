import { expect, test } from "vitest";
import { type DrawnKind, drawPoint } from "./points.ts";

const kinds: readonly DrawnKind[] = [
  { name: "kill-daemon", hits: ["daemon"] },
  { name: "stop-daemon", hits: ["daemon"] },
  { name: "kill-command", hits: ["command"] },
  { name: "server", hits: ["server"], alone: true },
  { name: "inodes", hits: ["disk"] },
  { name: "host", hits: ["handler-host"] },
];
const points = (seed: number, from: number, count: number) => Array.from({ length: count }, (_, at) => drawPoint(seed, from + at, kinds));

test("a point is the same whichever points are run before it", () => {
  expect(points(7, 0, 30).slice(17)).toEqual(points(7, 17, 13));
  expect(points(7, 17, 1)[0]?.number).toBe(17);
});

test("a round has every kind once, and a pair", () => {
  for (const seed of [1, 2, 3]) {
    const round = points(seed, 7, 7).map(({ faults }) => faults);
    expect(
      round
        .filter(({ length }) => length === 1)
        .flat()
        .sort(),
    ).toEqual(kinds.map(({ name }) => name).sort());
    expect(round.filter(({ length }) => length === 2)).toHaveLength(1);
  }
});

test("two at once never act on the same, and none that must be alone is one of them", () => {
  const hits = new Map(kinds.map(({ name, hits: parts }) => [name, parts]));
  const pairs = points(1, 0, 700)
    .map(({ faults }) => faults)
    .filter(({ length }) => length === 2);
  expect(pairs.length).toBe(100);
  for (const pair of pairs) {
    expect(pair).not.toContain("server");
    const parts = pair.flatMap((name) => hits.get(name) ?? []);
    expect(new Set(parts).size).toBe(parts.length);
  }
});

test("seeds and rounds differ in their order", () => {
  expect(points(1, 0, 7)).not.toEqual(points(2, 0, 7));
  expect(points(1, 0, 7).map(({ faults }) => faults)).not.toEqual(points(1, 7, 7).map(({ faults }) => faults));
});

test("without kinds there is nothing to draw", () => {
  expect(drawPoint(1, 0, []).faults).toEqual([]);
});
