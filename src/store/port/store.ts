import type { Instant } from "../../domain/time.ts";
import type { ClockDoubt } from "./clock-doubt.ts";
import type { DaemonsStore } from "./daemons.ts";
import type { ItemsStore } from "./items.ts";
import type { JobsStore } from "./jobs.ts";
import type { LeasesStore } from "./leases.ts";
import type { ActionsStore, DuplicatesStore, OutboxStore } from "./records.ts";
import type { RunsStore } from "./runs.ts";
import type { StoreTurns } from "./turns.ts";
import type { UpkeepStore } from "./upkeep.ts";
import type { WorkersStore } from "./workers.ts";

/** What an engine can do; code asks for an ability and never for an engine's name. */
export interface StoreCapabilities {
  /** Several daemons and workers may connect directly. */
  readonly manyWriters: boolean;
  /** Commits of other processes arrive as hints. */
  readonly notifies: boolean;
  /** A transaction blocks the event loop of this process: callers keep batches small. */
  readonly blocksEventLoop: boolean;
  /** Who writes much asks in parts of these sizes. */
  readonly turns: StoreTurns;
}

/** Something changed that a loop or worker may want to look at early. Never needed for correctness, never believed. */
export type StoreHint = "jobs" | "blocked" | "outbox" | "leases" | "workers" | "scheduled" | "items";

/**
 * The store: the only place that speaks SQL. Each verb is one transition, guarded by its source states and the fence, and tells whether it
 * won. Instants are of the store's clock. Hints go out after COMMIT.
 */
export interface Store {
  readonly capabilities: StoreCapabilities;
  readonly jobs: JobsStore;
  readonly runs: RunsStore;
  readonly items: ItemsStore;
  readonly workers: WorkersStore;
  readonly daemons: DaemonsStore;
  readonly leases: LeasesStore;
  readonly actions: ActionsStore;
  readonly outbox: OutboxStore;
  readonly duplicates: DuplicatesStore;
  readonly upkeep: UpkeepStore;
  /** The one clock that ages are computed with. */
  now(): Instant;
  /** Calls back after each commit (own or, where the engine tells, foreign) that may interest a listener. Returns the way to stop. */
  onHint(listener: (hint: StoreHint) => void): () => void;
  /** Calls back whenever the clock of a server could not be followed. Returns the way to stop. */
  onClockDoubt(listener: (doubt: ClockDoubt) => void): () => void;
  /** Cheap proof that the store answers; rejects when it does not. */
  ping(): Promise<void>;
  /** Flushes the group commit and closes. Later calls reject with `unavailable`. */
  close(): Promise<void>;
}
