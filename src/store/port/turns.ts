/** How one process's writes are put into transactions. */
export interface StoreTurns {
  /** Transactions at work at once. */
  readonly atOnce: number;
  /** Rows of one kind below which no transaction is divided: what it costs by itself outweighs what is gained. */
  readonly rowsMin: number;
  /** Rows of one kind beyond which a transaction takes no more. */
  readonly rowsMax: number;
}

/** The part of `rows` that one transaction should hold, so that while it is at work the next one gathers. */
export function partOf(rows: number, { atOnce, rowsMin, rowsMax }: StoreTurns): number {
  return Math.min(rowsMax, Math.max(rowsMin, Math.ceil(rows / atOnce)));
}
