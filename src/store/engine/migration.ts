import type { Kysely } from "kysely";
import type { Database } from "./tables.ts";

/** A change of the schema: frozen once it is released, numbered from 1 without gaps. */
export type Migration = TextMigration | SteppedMigration;

/** One transaction, together with its neighbours of this kind. For what takes no time however many rows there are. */
export interface TextMigration {
  readonly number: number;
  readonly name: string;
  readonly text: string;
  /** Drops a table that others refer to. Foreign keys are off in its transaction; `foreign_key_check` runs at its end. */
  readonly rebuilds?: boolean | undefined;
}

/**
 * Many transactions, which a kill may part: the next start goes on with the step that was not done. The first is a text. A store without
 * rows gets all of them in one transaction, without the slices.
 */
export interface SteppedMigration {
  readonly number: number;
  readonly name: string;
  /** Asked of a store of any version before, ahead of any change. A line that it answers: the store is left as it is. */
  readonly contradictions?: ContradictionCheck | undefined;
  readonly steps: readonly MigrationStep[];
}

export type MigrationStep = TextStep | IndexStep | SlicedStep;

/** One short transaction. */
export interface TextStep {
  /** What it does, for people. */
  readonly name: string;
  readonly text: string;
}

/** An index, made without a lock that anybody waits for. */
export interface IndexStep {
  /** The index's. */
  readonly name: string;
  /** Its table, columns and condition. */
  readonly on: string;
  readonly unique?: boolean | undefined;
}

/** Rows, moved a slice at a time, each slice a transaction. */
export interface SlicedStep {
  /** What the rows are, for people. */
  readonly name: string;
  /**
   * The rows behind `after`, at most `limit` of them; undefined: from the beginning. A slice that was done before the kill may be done
   * again.
   */
  slice(tx: Kysely<Database>, page: { readonly after: SliceKey | undefined; readonly limit: number }): Promise<Slice>;
  /** About how many are left. Undefined: to count them takes too long. */
  left(db: Kysely<Database>): Promise<number | undefined>;
}

/** What in the rows contradicts itself, a slice at a time. */
export type ContradictionCheck = (
  tx: Kysely<Database>,
  after: SliceKey | undefined,
) => Promise<{ readonly lines: readonly string[]; readonly after: SliceKey | undefined }>;

export type SliceKey = readonly (number | string)[];

export interface Slice {
  /** Where the next one begins. Undefined: this was the last. */
  readonly after: SliceKey | undefined;
  /** How many rows it moved. */
  readonly moved: number;
}

/** How far the migration of a store is. */
export interface MigrationProgress {
  /** The schema that the store will have. */
  readonly schema: number;
  /** What is done now, in words. */
  readonly step: string;
  readonly done?: number | undefined;
  readonly total?: number | undefined;
  /** Who keeps it from going on. */
  readonly waitsFor?: string | undefined;
}

export type TellMigration = (progress: MigrationProgress) => void;
