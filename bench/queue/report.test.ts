import { expect, test } from "vitest";
import type { QueueCell } from "./cells.ts";
import { Readings } from "./readings.ts";
import { type Report, reportChart, reportText } from "./report.ts";

const cell = (name: string, subject: QueueCell["subject"]): QueueCell => ({ name, subject, file: "", question: {} });
const cells = [
  cell("wakeful-postgres, 500 ahead, c=10", "wakeful-postgres"),
  cell("graphile-worker best, c=10", "graphile-worker"),
  cell("graphile-worker, enqueue", "graphile-worker"),
  cell("pg-boss best, c=10", "pg-boss"),
];
const readings = new Readings();
for (const [round, ours, peer] of [
  [1, 30_000, 10_000],
  [2, 50_000, 20_000],
  [3, 40_000, 30_000],
] as const) {
  readings.add(round, "wakeful-postgres, 500 ahead, c=10", {
    perSecond: ours,
    walBytes: 1000 + round,
    statements: [{ text: "select a | b", usPerJob: 12.34, callsPerJob: 0.004 }],
  });
  readings.add(round, "graphile-worker best, c=10", { perSecond: peer });
  readings.add(round, "graphile-worker, enqueue", { batch: 50_000 });
}
readings.fail("pg-boss best, c=10", "not installed");
const target = (over: string) => ({
  name: `beside ${over}`,
  unit: "x",
  bound: { atLeast: 2 },
  of: "wakeful-postgres, 500 ahead, c=10",
  over,
  key: "perSecond",
});
const report: Report = {
  title: "The queue",
  rounds: 3,
  facts: ["2026-11-30", "2 x some processor"],
  targets: [target("graphile-worker best, c=10"), target("pg-boss best, c=10")].map((each) => readings.target(each)),
  cells,
  readings,
};

test("a report has the date, the machine, every target with its verdict, and every cell that measured something", () => {
  const text = reportText(report);
  for (const line of [
    "- 2 x some processor",
    "| beside graphile-worker best, c=10 | 2.5 (1.33..3) x, n=3 | >= 2 | holds |",
    "| beside pg-boss best, c=10 |  | >= 2 | not measured: not installed |",
    "| wakeful-postgres, 500 ahead, c=10 | 40,000 (30,000..50,000) |",
    "| graphile-worker, enqueue | 50,000 (50,000..50,000) |",
    "| wakeful-postgres, 500 ahead, c=10 | 1,002 (1,001..1,003) |",
    "| 12.3 | 0.0040 | `select a \\| b` |",
  ])
    expect(text).toContain(line);
  expect(text).not.toContain("\n| pg-boss");
});

test("the chart has a bar for each cell with ten handlers that measured something", () => {
  const svg = reportChart(report) ?? "";
  expect([...svg.matchAll(/text-anchor="end">([^<]*)</g)].map(([, label]) => label)).toEqual([
    "wakeful-postgres, 500 ahead",
    "graphile-worker best",
  ]);
  expect(svg).toContain("2 x some processor");
  expect(svg).not.toContain("SQLite");
  expect(reportChart({ ...report, cells: [cell("sqlite, many queued", "wakeful-sqlite")] })).toBeUndefined();
});
