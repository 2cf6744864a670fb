import type { RunCell } from "./cell.ts";

/** One measured promise: the median of its samples beside its target. */
export interface Figure {
  readonly name: string;
  /** Null: it could not be measured; `note` says why. */
  readonly value: number | null;
  readonly unit: string;
  /** Such as `>= 4.5` or `<= 15`. */
  readonly target: string;
  readonly holds: boolean | null;
  readonly samples: readonly number[];
  readonly note?: string | undefined;
}

export interface BenchOptions {
  /** Fewer rounds and smaller stores: shows that everything runs, not how fast. */
  readonly quick: boolean;
  /** Instead of the figure's own number of rounds. */
  readonly rounds?: number | undefined;
  /** Of the cells of `queue` and `queue-growth`, only those whose names match. */
  readonly only?: RegExp | undefined;
  /** Of `queue-growth`: how many finished jobs the grown store has. */
  readonly finished?: number | undefined;
  /** A folder to write a table and a chart into. */
  readonly report?: string | undefined;
  /** Progress, for people. */
  readonly say: (line: string) => void;
  readonly runCell: RunCell;
}

export type Bound = { readonly atLeast: number } | { readonly atMost: number };

/** A figure that is the median of its samples. */
export function figure(name: string, unit: string, bound: Bound, samples: readonly number[], note?: string): Figure {
  const value = round(median(samples));
  const holds = "atLeast" in bound ? value >= bound.atLeast : value <= bound.atMost;
  return { name, value, unit, target: boundText(bound), holds, samples: samples.map(round), note };
}

export const boundText = (bound: Bound): string => ("atLeast" in bound ? `>= ${bound.atLeast}` : `<= ${bound.atMost}`);

/** A figure without a promise, for comparison. */
export function plainFigure(name: string, unit: string, samples: readonly number[]): Figure {
  return { name, value: round(median(samples)), unit, target: "none", holds: true, samples: samples.map(round) };
}

export function unmeasured(name: string, unit: string, target: string, note: string): Figure {
  return { name, value: null, unit, target, holds: null, samples: [], note };
}

/** What a cell measured several times. */
export function samplesOf(measured: Readonly<Record<string, unknown>>): readonly number[] {
  return measured["samples"] as readonly number[];
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The smallest value that at least this share of the values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))] ?? Number.NaN;
}

/** Three significant digits; whole numbers from 100 on. */
export const round = (value: number): number => (Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
