import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Report, reportChart, reportText } from "./report.ts";

/** Writes `name.md`, and `name.svg` where there is something to draw. */
export function writeReport(folder: string, name: string, report: Report): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.md`), reportText(report));
  const chart = reportChart(report);
  if (chart !== undefined) writeFileSync(join(folder, `${name}.svg`), chart);
}
