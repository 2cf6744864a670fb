import { boundText, type Figure, figure, median, plainFigure, unmeasured } from "../figure.ts";
import type { QueueTarget } from "./targets.ts";

interface Reading {
  readonly round: number;
  readonly cell: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** What cells of several rounds measured. */
export class Readings {
  readonly #readings: Reading[] = [];
  readonly #failures = new Map<string, string>();

  add(round: number, cell: string, values: Readonly<Record<string, unknown>>): void {
    this.#readings.push({ round, cell, values });
  }

  /** Why a cell has no values, or not in every round. */
  fail(cell: string, why: string): void {
    this.#failures.set(cell, why);
  }

  failureOf(cell: string): string | undefined {
    return this.#failures.get(cell);
  }

  /** The numbers that a cell measured, in the order of the rounds. */
  samples(cell: string, key: string): readonly number[] {
    return this.#readings.filter((reading) => reading.cell === cell).flatMap(({ values }) => numberOf(values[key]));
  }

  median(cell: string, key: string): number | undefined {
    const samples = this.samples(cell, key);
    return samples.length === 0 ? undefined : median(samples);
  }

  /** What a cell measured that is no number, in its last round. */
  last(cell: string, key: string): unknown {
    return this.#readings.findLast((reading) => reading.cell === cell)?.values[key];
  }

  /** One ratio for each round in which both cells measured something. */
  ratios(cell: string, over: string, key: string): readonly number[] {
    return this.#readings
      .filter((reading) => reading.cell === cell)
      .flatMap(({ round, values }) => {
        const other = this.#readings.find((reading) => reading.cell === over && reading.round === round);
        return numberOf(values[key]).flatMap((value) => numberOf(other?.values[key]).map((divisor) => value / divisor));
      });
  }

  /** A target does not hold when its own cell failed in any round, whatever the other rounds say. */
  target({ name, unit, bound, of, over, key }: QueueTarget): Figure {
    const samples = over === undefined ? this.samples(of, key) : this.ratios(of, over, key);
    const failure = this.failureOf(of);
    if (samples.length > 0) {
      const measured = figure(name, unit, bound, samples, failure);
      return failure === undefined ? measured : { ...measured, holds: false };
    }
    const why = failure ?? (over === undefined ? undefined : this.failureOf(over)) ?? "its cells were not asked for";
    return unmeasured(name, unit, boundText(bound), why);
  }

  plain(name: string, unit: string, cell: string, key: string): readonly Figure[] {
    const samples = this.samples(cell, key);
    return samples.length === 0 ? [] : [plainFigure(name, unit, samples)];
  }
}

const numberOf = (value: unknown): readonly number[] => (typeof value === "number" && Number.isFinite(value) ? [value] : []);
