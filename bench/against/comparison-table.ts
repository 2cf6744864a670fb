import { round } from "../figure.ts";
import { table } from "../table.ts";
import type { Report } from "./compare-revisions.ts";
import type { Comparison } from "./comparison.ts";

/** The report for people: a line a figure, and whose build stands in which column. */
export function comparisonTable({ base, tree, rounds, minutes, notes, figures }: Report): string {
  const rows = [["figure", "base", "tree", "ratio", "(min..max, n)", "bound", "", ""], ...figures.map(row)];
  return `base: ${base}\ntree: ${tree}\n${rounds} rounds, ${minutes} minutes\n\n${table(rows)}${notes.map((note) => `\n${note}\n`).join("")}`;
}

function row(comparison: Comparison): string[] {
  const { name, unit, base, tree, ratio, ratioMin, ratioMax, n, bound, note = "" } = comparison;
  return [
    name,
    `${number(base)} ${unit}`,
    `${number(tree)} ${unit}`,
    number(ratio),
    ratio === null ? "" : `(${number(ratioMin)}..${number(ratioMax)}, n=${n})`,
    bound === "none" ? "" : bound,
    verdict(comparison),
    note,
  ];
}

function verdict({ bound, holds }: Comparison): string {
  if (holds === false) return "DOES NOT HOLD";
  if (bound === "none") return "shown only";
  return holds === true ? "holds" : "no verdict";
}

const number = (value: number | null): string => (value === null ? "-" : String(round(value)));
