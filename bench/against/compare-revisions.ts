import { chmodSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchName } from "../arguments.ts";
import { BenchError } from "../bench-error.ts";
import { cellRunner } from "../cell.ts";
import { round } from "../figure.ts";
import { table } from "../table.ts";
import type { Comparison } from "./comparison.ts";
import { type Measurement, measurements } from "./measurements.ts";
import { makeSides, type Sides } from "./sides.ts";
import { type Turns, takeTurns } from "./turns.ts";

export interface CompareOptions {
  readonly repository: string;
  readonly revision: string;
  readonly names: readonly BenchName[];
  readonly rounds: number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface Report {
  readonly base: string;
  readonly tree: string;
  readonly rounds: number;
  readonly minutes: number;
  /** What a reader of the figures should know. */
  readonly notes: readonly string[];
  readonly figures: readonly Comparison[];
}

/** Builds a revision and the working tree in a temporary folder and measures them in turns. The folder is removed in every case. */
export async function compareRevisions(options: CompareOptions): Promise<Report> {
  const { names, rounds, signal, say } = options;
  const began = performance.now();
  const wanted = measurements.filter(({ bench }) => names.includes(bench));
  const busy = notesOnLoad();
  const folders: string[] = [];
  try {
    const [folder, stores] = [temporaryFolder(folders, tmpdir()), temporaryFolder(folders, process.env["WAKEFUL_BENCH_DIR"] ?? tmpdir())];
    const sides = await makeSides({ repository: options.repository, revision: options.revision, folder, signal, say });
    const notes = [...busy, ...notesOn(wanted, sides)];
    for (const note of notes) say(note);
    const figures = await takeTurns({ wanted, rounds, run: runnerOf(sides, stores, signal), signal, say });
    const minutes = Number(((performance.now() - began) / 60_000).toFixed(1));
    return { base: sides.base.name, tree: sides.tree.name, rounds, minutes, notes, figures };
  } finally {
    for (const path of folders) rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** All users may enter it: for root, PostgreSQL runs as another account. */
function temporaryFolder(folders: string[], parent: string): string {
  const folder = realpathSync(mkdtempSync(join(parent, "wakeful-against-")));
  folders.push(folder);
  chmodSync(folder, 0o711);
  return folder;
}

/** Cells write below `stores`, which is removed with it. */
function runnerOf(sides: Sides, stores: string, signal: AbortSignal): Turns["run"] {
  const env = { ...process.env, WAKEFUL_BENCH_DIR: stores, TMPDIR: stores };
  const runners = {
    base: cellRunner({ checkout: sides.base.folder, env, signal }),
    tree: cellRunner({ checkout: sides.tree.folder, env, signal }),
  };
  return (side, { cell, cellOf, question }) => runners[cellOf === "tree" ? "tree" : side](cell, { ...question, build: sides[side].folder });
}

/** On the machine's load before anything of ours ran. */
function notesOnLoad(): readonly string[] {
  const [load = 0] = loadavg();
  const processors = availableParallelism();
  return load * 4 <= processors ? [] : [`The load was ${load.toFixed(1)} on ${processors} processors at the start: the ratios scatter.`];
}

/** @throws {BenchError} `no_cell`: the revision is older than a cell that it has to bring along. */
function notesOn(wanted: readonly Measurement[], { base, tree }: Sides): readonly string[] {
  const own = new Map(wanted.filter(({ cellOf }) => cellOf === "each side").map(({ cell, bench }) => [cell, bench]));
  return [...own].flatMap(([cell, bench]) => {
    const [before, now] = [base, tree].map(({ folder }) => bodyOf(join(folder, "bench", cell)));
    if (before === undefined) throw new BenchError("no_cell", `${base.name} has no bench/${cell}: name the benches without ${bench}.`);
    return before === now ? [] : [`bench/${cell} differs beyond its imports: read the difference before the figures of ${bench}.`];
  });
}

/** A file without its imports, which a moved file changes. */
function bodyOf(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8").replaceAll(/^import [^;]*;\n/gm, "") : undefined;
}

/** The report for people: one line per figure, and which build each column shows. */
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
