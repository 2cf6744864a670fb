import type { DurationMs } from "../../domain/time.ts";

/**
 * What keeps a server from vacuuming rows that ended after it began: a transaction of a session, one that is prepared, or a replication slot.
 */
export interface OldTransaction {
  readonly kind: "session" | "prepared_transaction" | "replication_slot";
  /** Of a session. */
  readonly pid: number | null;
  /** A session's application, the prepared transaction's id, the slot's name. */
  readonly name: string;
  readonly user: string | null;
  readonly database: string | null;
  /** A session's as the server calls it, whether a slot is used. Null: hidden from this role, or there is none. */
  readonly state: string | null;
  /** Since when it is open. Null: hidden from this role, or a slot, of which the server keeps none. */
  readonly ageMs: DurationMs | null;
  /** Transactions that began since then: what ended in them stays. */
  readonly transactions: number;
  /** The user of a session is a superuser, whose sessions only superusers may end. */
  readonly bySuperuser: boolean;
  /** Only the server's own catalogue stays, not the rows of the store. */
  readonly catalogOnly: boolean;
}

/** The write-ahead log of a file. */
export interface FileLog {
  readonly bytes: number;
  /** A reader keeps it from being written back, as far as this process knows. */
  readonly held: boolean;
  /** Whoever reads holds a lock on one of these bytes. */
  readonly readLocks: { readonly path: string; readonly from: number; readonly to: number };
}

/** Who reads an old state of the store, as far as the store itself can tell, and what is kept for them. */
export interface KeptForReaders {
  /** Null: the store is a server's, or in memory. */
  readonly log: FileLog | null;
  /** Of a server, those that hold back most first. */
  readonly transactions: readonly OldTransaction[];
}
