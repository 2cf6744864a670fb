import { median } from "../figure.ts";
import { table } from "../table.ts";
import { groupBy } from "./group-by.ts";
import type { Limits } from "./limits.ts";
import type { PointReport } from "./run-point.ts";
import type { SetUp } from "./set-up.ts";

export interface SetUpReport {
  readonly setUp: SetUp;
  readonly points: readonly PointReport[];
  /** Points whose fault cannot be made here. */
  readonly skipped: readonly { readonly number: number; readonly faults: readonly string[]; readonly why: string }[];
}

/** From the end of a fault until new work started. */
export interface RecoveryFigure {
  readonly fault: string;
  readonly count: number;
  readonly p50Ms: number;
  readonly maxMs: number;
  readonly boundMs: number;
}

export interface FaultReport {
  readonly seed: number;
  readonly limits: Limits;
  readonly setUps: readonly SetUpReport[];
  readonly recovery: readonly RecoveryFigure[];
}

/** By kind; two faults at once are a kind of their own. A point in which no new work started has no figure: it has failed. */
export function recoveryFigures(points: readonly PointReport[]): readonly RecoveryFigure[] {
  const kinds = groupBy(points, ({ faults }) => faults.join(" + "));
  return [...kinds].flatMap(([fault, ofKind]) => {
    const took = ofKind.flatMap(({ recoveryMs }) => recoveryMs ?? []);
    const boundMs = Math.max(...ofKind.map(({ recoveryBoundMs }) => recoveryBoundMs));
    return took.length === 0 ? [] : [{ fault, count: took.length, p50Ms: median(took), maxMs: Math.max(...took), boundMs }];
  });
}

export const failedPoints = ({ setUps }: FaultReport): number =>
  setUps.flatMap(({ points }) => points).filter(({ findings }) => findings.length > 0).length;

/** For people; the last line has the totals. */
export function faultTable(report: FaultReport): string {
  const rows = report.recovery
    .toSorted((a, b) => a.fault.localeCompare(b.fault))
    .map(({ fault, count, p50Ms, maxMs, boundMs }) => [fault, `${p50Ms} ms`, `max ${maxMs} ms`, `<= ${boundMs} ms`, `n=${count}`]);
  const lines = report.setUps.map(({ setUp, points, skipped }) => {
    const failed = points.filter(({ findings }) => findings.length > 0).length;
    return `${setUp}: ${points.length - failed} passed, ${failed} failed, ${skipped.length} skipped`;
  });
  return `New work after the end of each fault:\n${table(rows)}\n${lines.join("\n")}\n`;
}
