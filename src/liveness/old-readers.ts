import { type DurationMs, minutes, seconds } from "../domain/time.ts";

/**
 * SQLite: a longer log is cut back as soon as nobody reads an old state. Four times what it grows to without such readers; so much is written
 * back in about 10 ms (docs/architecture.md).
 */
export const longLogBytes = 16 * 2 ** 20;

/** Beyond which limits people are told who reads an old state of the store. */
export interface ReaderLimits {
  /** A transaction of a server that is open for so long. */
  readonly alertAfterMs: DurationMs;
  /** The write-ahead log of a file that has grown to so much. */
  readonly alertLogBytes: number;
}

/**
 * Five minutes: longer than any statement of ours (30 s) or report of a page. 64 MiB: about 30,000 jobs, four times what is cut back in
 * silence.
 */
export const defaultReaderLimits: ReaderLimits = { alertAfterMs: minutes(5), alertLogBytes: 64 * 2 ** 20 };

/** An open transaction that has seen fewer pass costs nothing yet: the dead rows of 10,000 are a few megabytes. */
const transactionsMin = 10_000;

/** A log that is held for less is read by something short, such as a backup. */
export const shortReadMs: DurationMs = seconds(10);

export interface OpenTransaction {
  /** Null: unknown. */
  readonly ageMs: DurationMs | null;
  readonly transactions: number;
  /** Rows of the store are not kept for it. */
  readonly catalogOnly: boolean;
}

/** Whether so many transactions have passed that it matters how long it has been open. */
export const holdsBackMany = ({ transactions, catalogOnly }: OpenTransaction): boolean => !catalogOnly && transactions >= transactionsMin;

/** Whether a transaction has been open for too long. One of unknown age counts since `sinceMs`, when it was first seen to hold back many. */
export const isOverdueTransaction = (open: OpenTransaction, { alertAfterMs }: ReaderLimits, sinceMs: DurationMs): boolean =>
  holdsBackMany(open) && (open.ageMs ?? sinceMs) >= alertAfterMs;
