import { chanceOf } from "./chance.ts";

/** What a fault acts on. Two faults at once never act on the same. */
export type Part = "daemon" | "handler-host" | "command" | "server" | "connections" | "output" | "disk" | "data-directory" | "load";

/** What a draw needs to know of a kind of fault. */
export interface DrawnKind {
  readonly name: string;
  readonly hits: readonly Part[];
  readonly alone?: boolean;
}

/** One point of a run: its faults by name, two when they come at once. */
export interface Point {
  readonly number: number;
  readonly faults: readonly string[];
}

/** For so many kinds one pair of two at once. */
const kindsForAPair = 6;

/**
 * The point of this number, which depends on seed, number and kinds alone. Points come in rounds: each kind once and some pairs, in an order
 * that the seed draws, so that few points meet many kinds.
 */
export function drawPoint(seed: number, number: number, kinds: readonly DrawnKind[]): Point {
  const size = kinds.length + Math.floor(kinds.length / kindsForAPair);
  const round = Math.floor(number / size);
  const chance = chanceOf(seed, `round ${round}`);
  const singles = kinds.map(({ name }) => [name]);
  const pairs = Array.from({ length: size - kinds.length }, () => drawPair(chance.shuffle(kinds.filter(({ alone }) => alone !== true))));
  const faults = chance.shuffle([...singles, ...pairs])[number % size] ?? [];
  return { number, faults };
}

/** The first of them, and the first after it that acts on something else. */
function drawPair(kinds: readonly DrawnKind[]): readonly string[] {
  const [one, ...others] = kinds;
  if (one === undefined) return [];
  const two = others.find(({ hits }) => !hits.some((part) => one.hits.includes(part)));
  return two === undefined ? [one.name] : [one.name, two.name];
}
