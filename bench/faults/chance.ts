/** Draws that a seed decides: the same seed and subject draw the same on every machine. */
export interface Chance {
  /** At least 0 and below 1. */
  readonly next: () => number;
  /** A whole number from `min` to `max`, both included. */
  readonly whole: (min: number, max: number) => number;
  readonly pick: <T>(from: readonly T[]) => T | undefined;
  readonly shuffle: <T>(from: readonly T[]) => readonly T[];
}

export function chanceOf(seed: number, subject: string): Chance {
  let state = hash(`${seed} ${subject}`);
  // Mulberry32: small, and good enough to spread faults.
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  const pick = <T>(from: readonly T[]): T | undefined => from[whole(0, from.length - 1)];
  const shuffle = <T>(from: readonly T[]): readonly T[] =>
    from
      .map((value) => ({ value, at: next() }))
      .sort((a, b) => a.at - b.at)
      .map(({ value }) => value);
  return { next, whole, pick, shuffle };
}

/** FNV-1a. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (const byte of Buffer.from(text)) sum = Math.imul(sum ^ byte, 0x01000193);
  return sum | 0;
}
