import type { Answer } from "../cell.ts";
import { median, round as rounded, samplesOf } from "../figure.ts";
import { type Comparison, compare, type Measure, orderOf, type Pair, ratioOf, type SideName } from "./comparison.ts";
import type { Measurement } from "./measurements.ts";

export interface Turns {
  readonly wanted: readonly Measurement[];
  readonly rounds: number;
  readonly run: (side: SideName, measurement: Measurement) => Promise<Answer>;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

type Outcome = { readonly answer: Answer } | { readonly failed: string };
type Outcomes = Readonly<Record<SideName, Outcome>>;

/** Runs every cell on one side and at once on the other, round by round. A cell that fails is reported, and the others go on. */
export async function takeTurns({ wanted, rounds, run, signal, say }: Turns): Promise<readonly Comparison[]> {
  const taken = new Map<string, { readonly measure: Measure; readonly pairs: Pair[] }>();
  const began = performance.now();
  for (let round = 1; round <= rounds; round++) {
    for (const measurement of wanted) {
      const outcomes = await runPair(measurement, { round, run, signal });
      const told: string[] = [];
      for (const { key, ...measure } of measurement.figures) {
        const pair = { base: valueOf(outcomes.base, key), tree: valueOf(outcomes.tree, key) };
        const figure = taken.get(measure.name) ?? { measure, pairs: [] };
        figure.pairs.push(pair);
        taken.set(measure.name, figure);
        told.push(`${key} ${shown(pair.base)} to ${shown(pair.tree)} (${shown(ratioOf(pair))})`);
      }
      say(`round ${round}/${rounds} ${measurement.bench}, ${measurement.what}: ${told.join(", ")}`);
      for (const side of ["base", "tree"] as const) {
        const outcome = outcomes[side];
        if ("failed" in outcome)
          say(`round ${round}/${rounds} ${measurement.bench}, ${measurement.what}: the ${side} failed: ${outcome.failed}`);
      }
    }
    const minutes = (performance.now() - began) / 60_000;
    say(
      `round ${round}/${rounds} done after ${minutes.toFixed(1)} minutes, about ${((minutes / round) * (rounds - round)).toFixed(1)} to go`,
    );
  }
  return [...taken.values()].map(({ measure, pairs }) => compare(measure, pairs));
}

async function runPair(
  measurement: Measurement,
  { round, run, signal }: Pick<Turns, "run" | "signal"> & { round: number },
): Promise<Outcomes> {
  const outcomes: Partial<Record<SideName, Outcome>> = {};
  for (const side of orderOf(round)) outcomes[side] = await outcomeOf(() => run(side, measurement), measurement, signal);
  return outcomes as Outcomes;
}

async function outcomeOf(run: () => Promise<Answer>, { exactly = {} }: Measurement, signal: AbortSignal): Promise<Outcome> {
  try {
    const answer = await run();
    const wrong = Object.entries(exactly).filter(([key, value]) => answer[key] !== value);
    if (wrong.length === 0) return { answer };
    return { failed: wrong.map(([key, value]) => `${key} is ${String(answer[key])} and not ${value}`).join(", ") };
  } catch (thrown) {
    signal.throwIfAborted();
    return { failed: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

/** Null: failed, or no number. */
function valueOf(outcome: Outcome, key: string): number | null {
  if ("failed" in outcome) return null;
  const found: unknown = outcome.answer[key];
  const value = Array.isArray(found) ? median(samplesOf({ samples: found })) : found;
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

const shown = (value: number | null): string => (value === null ? "-" : String(rounded(value)));
