export type SideName = "base" | "tree";

/** One thing that is measured of both sides, and how much worse the tree may be. */
export interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly better: "lower" | "higher";
  /** As a share of the base: 0.07 allows 7 %. Null: shown without a verdict. */
  readonly worseMax: number | null;
}

/** What the two sides gave in the same minute; null: that side's cell failed. */
export type Pair = Readonly<Record<SideName, number | null>>;

export interface Comparison {
  readonly name: string;
  readonly unit: string;
  readonly better: "lower" | "higher";
  /** Medians. */
  readonly base: number | null;
  readonly tree: number | null;
  /** Tree to base within each pair: the median, the smallest and the largest. */
  readonly ratio: number | null;
  readonly ratioMin: number | null;
  readonly ratioMax: number | null;
  /** How many pairs have a ratio. */
  readonly n: number;
  /** Such as `<= 1.07`; `none`: shown without a verdict. */
  readonly bound: string;
  /** Null: too few pairs for a verdict, or none is wanted. */
  readonly holds: boolean | null;
  readonly pairs: readonly Pair[];
  readonly note: string | undefined;
}

/** Who goes first: a machine that becomes slower or faster meanwhile hurts both alike. */
export function orderOf(round: number): readonly [SideName, SideName] {
  return round % 2 === 1 ? ["base", "tree"] : ["tree", "base"];
}

/**
 * Compares within each pair, because a machine's speed changes by the minute; the verdict is the median ratio. A cell that fails only on
 * the tree is worse than any number; less than half of the pairs give no verdict.
 */
export function compare(measure: Measure, pairs: readonly Pair[]): Comparison {
  const ratios = pairs.map(ratioOf).filter((ratio) => ratio !== null);
  const ratio = ratios.length === 0 ? null : middleOf(ratios);
  const harmed = pairs.filter(({ base, tree }) => base !== null && tree === null).length;
  const missing = pairs.length - ratios.length - harmed;
  const notes = [
    ...(harmed > 0 ? [`the tree alone failed in ${harmed} of ${pairs.length}`] : []),
    ...(missing > 0 ? [`${missing} of ${pairs.length} could not be compared`] : []),
  ];
  return {
    name: measure.name,
    unit: measure.unit,
    better: measure.better,
    base: medianOf(pairs, "base"),
    tree: medianOf(pairs, "tree"),
    ratio,
    ratioMin: ratio === null ? null : Math.min(...ratios),
    ratioMax: ratio === null ? null : Math.max(...ratios),
    n: ratios.length,
    bound: boundOf(measure),
    holds: harmed > 0 ? false : ratio === null || ratios.length * 2 < pairs.length ? null : isWithin(measure, ratio),
    pairs,
    note: notes.length === 0 ? undefined : notes.join("; "),
  };
}

/** Null: one of the two is missing, or the base is zero. */
export function ratioOf({ base, tree }: Pair): number | null {
  if (base === null || tree === null) return null;
  const ratio = tree / base;
  return Number.isFinite(ratio) && base > 0 ? ratio : null;
}

/** Whether a verdict was wanted and the tree does not hold. */
export function isShort({ bound, holds }: Comparison): boolean {
  return holds === false || (bound !== "none" && holds === null);
}

function medianOf(pairs: readonly Pair[], side: SideName): number | null {
  const values = pairs.map((pair) => pair[side]).filter((value) => value !== null);
  return values.length === 0 ? null : middleOf(values);
}

/** Of an even number, the mean of the two in the middle: either alone would favour a side. */
function middleOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}

/** The ratio of the worst tree that holds. Rounded, because 1 - 0.07 is not exact in binary. */
function limitOf({ better }: Measure, worseMax: number): number {
  return Number((better === "lower" ? 1 + worseMax : 1 - worseMax).toFixed(6));
}

function boundOf(measure: Measure): string {
  if (measure.worseMax === null) return "none";
  return `${measure.better === "lower" ? "<=" : ">="} ${limitOf(measure, measure.worseMax)}`;
}

function isWithin(measure: Measure, ratio: number): boolean | null {
  if (measure.worseMax === null) return null;
  const limit = limitOf(measure, measure.worseMax);
  return measure.better === "lower" ? ratio <= limit : ratio >= limit;
}
