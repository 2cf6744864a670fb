/** Records of one kind, as `pg_get_wal_stats` counts them: `Btree/INSERT_LEAF`. */
export interface WalRecords {
  readonly kind: string;
  readonly count: number;
  /** Page images included. */
  readonly bytes: number;
  readonly images: number;
}

/** Kinds that each put one entry on an index page; a split puts in the entry that did not fit. */
const insertions = new Set(["INSERT_LEAF", "INSERT_POST", "SPLIT_L", "SPLIT_R"].map((name) => `Btree/${name}`));

export function walFigures(records: readonly WalRecords[]) {
  const sum = (of: (record: WalRecords) => number): number => records.reduce((total, record) => total + of(record), 0);
  return {
    bytes: sum(({ bytes }) => bytes),
    imageBytes: sum(({ images }) => images),
    indexInsertions: sum(({ kind, count }) => (insertions.has(kind) ? count : 0)),
    commits: sum(({ kind, count }) => (kind === "Transaction/COMMIT" ? count : 0)),
  };
}
