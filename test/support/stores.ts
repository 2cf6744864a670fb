import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";
import { describe, onTestFinished } from "vitest";
import { addMs, asInstant, type DurationMs, type Instant } from "../../src/domain/time.ts";
import { type OpenStoreOptions, openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { createDatabase, storeOptions } from "./postgres.ts";
import { tempDir } from "./temp-dir.ts";

/** A store clock that only the test moves. */
export class StoreTestClock {
  #now: Instant = asInstant(Date.UTC(2026, 0, 1));

  now(): Instant {
    return this.#now;
  }

  advance(ms: DurationMs): Instant {
    this.#now = addMs(this.#now, ms);
    return this.#now;
  }
}

export interface TestStore {
  readonly store: Store;
  readonly clock: StoreTestClock;
  readonly url: string;
  /** Another opening of the same database, as another daemon has it: on the embedded engine without the lock. */
  readonly openAgain: (options?: Partial<OpenStoreOptions>) => Promise<Store>;
  /** Rows as the engine answers them, past the store and on their own connection. */
  readonly query: (text: string) => Promise<readonly Record<string, unknown>[]>;
}

/** Opens an empty store of the test's own, closed and removed when the test ends. */
export type OpenTestStore = () => Promise<TestStore>;

const engines: Readonly<Record<"sqlite" | "postgres", OpenTestStore>> = { sqlite: openOnSqlite, postgres: openOnPostgres };

/** Declares the same tests for each engine. */
export function describeStores(suite: (open: OpenTestStore, engine: "sqlite" | "postgres") => void): void {
  describe("SQLite", () => {
    suite(engines.sqlite, "sqlite");
  });
  describe("PostgreSQL", () => {
    suite(engines.postgres, "postgres");
  });
}

async function openOnSqlite(): Promise<TestStore> {
  const path = join(tempDir("store"), "wakeful.db");
  return await openTestStore(path, async (text) => {
    const db = new DatabaseSync(path);
    try {
      return db.prepare(text).all() as Record<string, unknown>[];
    } finally {
      db.close();
    }
  });
}

let migrated: Promise<string> | undefined;

/** A database that has been migrated once for this file, to be copied: a third of the time that migrating each would take. */
async function migratedTemplate(): Promise<string> {
  const database = await createDatabase();
  const store = await openStore({ url: database.url, clock: new StoreTestClock() });
  await store.close();
  return database.name;
}

async function openOnPostgres(): Promise<TestStore> {
  migrated ??= migratedTemplate();
  const database = await createDatabase({ template: await migrated });
  onTestFinished(() => database.drop());
  return await openTestStore(database.url, async (text) => {
    const client = new pg.Client({ connectionString: database.url, options: storeOptions });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  });
}

async function openTestStore(url: string, query: TestStore["query"]): Promise<TestStore> {
  const clock = new StoreTestClock();
  const openAgain = async (options: Partial<OpenStoreOptions> = {}): Promise<Store> => {
    // These tests crash no machine; a sync per commit would only make them slow.
    const store = await openStore({ url, clock, synchronous: "normal", lock: false, ...options });
    onTestFinished(() => store.close());
    return store;
  };
  return { store: await openAgain({ lock: true }), clock, url, openAgain, query };
}
