import type { Kysely, RawBuilder, SqlBool, Transaction } from "kysely";
import type { Instant } from "../../domain/time.ts";
import type { KeptForReaders } from "../port/old-readers.ts";
import type { StoreCapabilities, StoreHint } from "../port/store.ts";
import type { Database } from "./tables.ts";

/** What the nouns of the store build on. The shared ones use this alone; the hot ones also know their own engine. */
export interface Engine {
  /**
   * Statements outside a transaction. Inside one, use its `tx` only: on the embedded engine this waits for the one connection,
   * which the transaction holds.
   */
  readonly kysely: Kysely<Database>;
  readonly capabilities: StoreCapabilities & EngineCapabilities;
  /** Conditions that must be written exactly as the partial index that serves them, which the engines spell differently. Over table `jobs`. */
  readonly predicates: Readonly<Record<"paused", RawBuilder<SqlBool>>>;
  now(): Instant;
  /** The rows of one finished statement outside a transaction, in the order of its parameters. */
  rows<Row>(statement: string, parameters: readonly unknown[]): Promise<readonly Row[]>;
  /**
   * A write transaction. `body` may run again after a deadlock or lock timeout, and changes nothing but through `tx`. Lock order: live
   * runs, jobs, ended runs, slots, visits, items, leases. A claim locks slots, then `ready`, skipping what is locked.
   */
  transaction<T>(body: (tx: Transaction<Database>) => Promise<T>): Promise<T>;
  /** Reads of one instant: all statements of `body` see the same committed state. */
  snapshot<T>(body: (tx: Transaction<Database>) => Promise<T>): Promise<T>;
  /** To be called after the commit. Cheap: many hints of one turn reach each listener once. */
  hint(...hints: readonly StoreHint[]): void;
  /** Makes run ids begin in the range of `epoch`, from the commit of `tx` on. */
  moveRunIds(tx: Transaction<Database>, epoch: number): Promise<void>;
  /** To be called after the commit that raises the store epoch: the engine gives out no more ids of the old one. */
  epochRaised(): void;
  sizeBytes(): Promise<number>;
  keptForReaders(): Promise<KeptForReaders>;
  /** What the engine finds wrong with its own files. Empty: nothing. */
  integrityCheck(): Promise<readonly string[]>;
}

export interface EngineCapabilities {
  /** Rows can be locked one by one (`FOR UPDATE`, `SKIP LOCKED`). Without: a write transaction is alone anyway. */
  readonly rowLocks: boolean;
}

/** Thrown by the body of a transaction whose rows moved on before it had locked them: the transaction is rolled back and begins again. */
export class BeginAgain extends Error {
  override readonly name = "BeginAgain";
}

/** Adds `FOR UPDATE` where the engine has row locks; elsewhere a transaction has the whole store. */
export function lockRows<Query extends { forUpdate(): Query }>(engine: Engine, query: Query): Query {
  return engine.capabilities.rowLocks ? query.forUpdate() : query;
}

/** The clock that ages are computed with, as the embedded engine is given it; the server engine has its server's. */
export interface StoreClock {
  now(): Instant;
  /** Called once, at the opening, with the newest instant that the store holds: the clock never answers less. */
  floor?(newest: Instant): void;
  /**
   * Monotonic milliseconds, by which a server engine carries its server's time on between two looks at it. Absent: `now()` is the
   * store's clock on every engine, as tests want it.
   */
  mono?(): number;
}
