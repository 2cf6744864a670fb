import { expect, test } from "vitest";
import { type FaultReport, failedPoints, faultTable, recoveryFigures } from "./report.ts";
import type { PointReport } from "./run-point.ts";

const point = (number: number, parts: Partial<PointReport>): PointReport => ({
  number,
  faults: ["kill-command"],
  notes: [],
  recoveryMs: 100,
  recoveryBoundMs: 5000,
  tookMs: 4000,
  jobs: 10,
  findings: [],
  ...parts,
});

test("recovery is told by kind, and what never recovered has no figure", () => {
  const points = [
    point(0, { recoveryMs: 100 }),
    point(1, { recoveryMs: 300 }),
    point(2, { recoveryMs: 200 }),
    point(3, { recoveryMs: undefined, findings: ["new work started not at all"] }),
    point(4, { faults: ["kill-server", "kill-wrapper"], recoveryMs: 900, recoveryBoundMs: 45_000 }),
  ];
  expect(recoveryFigures(points)).toEqual([
    { fault: "kill-command", count: 3, p50Ms: 200, maxMs: 300, boundMs: 5000 },
    { fault: "kill-server + kill-wrapper", count: 1, p50Ms: 900, maxMs: 900, boundMs: 45_000 },
  ]);
});

test("the last line has the totals, which a failed point changes", () => {
  const points = [point(0, {}), point(1, { findings: ["job 1 is failed"] })];
  const skipped = [{ number: 2, faults: ["no-inodes"], why: "only root can do that" }];
  const report: FaultReport = {
    seed: 1,
    limits: "short",
    setUps: [{ setUp: "sqlite", points, skipped }],
    recovery: recoveryFigures(points),
  };
  expect(faultTable(report).trim().split("\n").at(-1)).toBe("sqlite: 1 passed, 1 failed, 1 skipped");
  expect(failedPoints(report)).toBe(1);
});

test("a run without a single point that recovered still has its totals", () => {
  const report: FaultReport = { seed: 1, limits: "short", setUps: [{ setUp: "sqlite", points: [], skipped: [] }], recovery: [] };
  expect(faultTable(report)).toMatch(/sqlite: 0 passed, 0 failed, 0 skipped\n$/);
});
