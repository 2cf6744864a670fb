import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
  type Transaction,
} from "kysely";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { HintBoard } from "../engine/hint-board.ts";
import type { Database } from "../engine/tables.ts";
import { StoreReferencesError } from "../port/errors.ts";
import type { KeptForReaders } from "../port/old-readers.ts";
import type { StoreHint } from "../port/store.ts";
import type { SqliteConnection } from "./connection.ts";
import { sqliteFailure } from "./failures.ts";
import { groupTurns } from "./group-commit.ts";
import { type LogCutter, logBytesOf } from "./log-cutter.ts";
import { SqliteRunIds } from "./run-ids.ts";

export interface SqliteEngineOptions {
  readonly connection: SqliteConnection;
  readonly hints: HintBoard;
  readonly now: () => Instant;
  /** Absent: the file is only read, or in memory. */
  readonly log?: Pick<LogCutter, "state"> | undefined;
}

/** The embedded engine: one connection, owned by one process. */
export class SqliteEngine implements Engine {
  readonly connection: SqliteConnection;
  readonly runIds: SqliteRunIds;
  readonly kysely: Kysely<Database>;
  readonly now: () => Instant;
  readonly capabilities = { manyWriters: false, notifies: false, blocksEventLoop: true, rowLocks: false, turns: groupTurns } as const;
  readonly predicates = { paused: sql<boolean>`jobs.paused = 1` };
  readonly #hints: HintBoard;
  readonly #log: SqliteEngineOptions["log"];

  constructor(options: SqliteEngineOptions) {
    this.connection = options.connection;
    this.runIds = new SqliteRunIds(options.connection);
    this.kysely = new Kysely<Database>({ dialect: sqliteDialect(options.connection) });
    this.now = options.now;
    this.#hints = options.hints;
    this.#log = options.log;
  }

  async rows<Row>(statement: string, parameters: readonly unknown[]): Promise<readonly Row[]> {
    const { connection } = this;
    return await connection.exclusive(() => connection.prepare(statement).all(...parameters) as Row[]);
  }

  async transaction<T>(body: (tx: Transaction<Database>) => Promise<T>): Promise<T> {
    try {
      return await this.kysely.transaction().execute(body);
    } catch (thrown) {
      throw sqliteFailure(thrown, this.connection.name);
    }
  }

  /**
   * A transaction that may drop a table which others refer to. SQLite refuses that while foreign keys are on, even deferred, and cannot
   * turn them off inside a transaction. References to nothing at the end roll it back.
   */
  async rebuild<T>(body: (tx: Transaction<Database>) => Promise<T>): Promise<T> {
    const { db, name } = this.connection;
    try {
      return await this.kysely.connection().execute(async (held) => {
        db.exec("pragma foreign_keys = off");
        try {
          return await held.transaction().execute(async (tx) => {
            const result = await body(tx);
            const broken = await brokenReferences(tx);
            if (broken.length > 0) throw new StoreReferencesError({ store: name, broken });
            return result;
          });
        } finally {
          db.exec("pragma foreign_keys = on");
        }
      });
    } catch (thrown) {
      throw sqliteFailure(thrown, name);
    }
  }

  async snapshot<T>(body: (tx: Transaction<Database>) => Promise<T>): Promise<T> {
    return await this.transaction(body);
  }

  hint(...hints: readonly StoreHint[]): void {
    this.#hints.post(hints);
  }

  async moveRunIds(): Promise<void> {
    // The next block is set aside above the start of the epoch that it then reads.
  }

  epochRaised(): void {
    this.runIds.forget();
  }

  async sizeBytes(): Promise<number> {
    const { rows } = await sql<{
      bytes: number;
    }>`select page_count * page_size as bytes from pragma_page_count(), pragma_page_size()`.execute(this.kysely);
    return rows[0]?.bytes ?? 0;
  }

  async keptForReaders(): Promise<KeptForReaders> {
    const { name } = this.connection;
    if (name === ":memory:") return { log: null, transactions: [] };
    const { bytes, held } = this.#log?.state ?? { bytes: logBytesOf(name), held: false };
    // The format of SQLite's shared memory: five locks of readers, each of whom has one.
    return { log: { bytes, held, readLocks: { path: `${name}-shm`, from: 123, to: 127 } }, transactions: [] };
  }

  async integrityCheck(): Promise<readonly string[]> {
    const pages = await sql<{ integrity_check: string }>`pragma integrity_check(100)`.execute(this.kysely);
    return [...pages.rows.map((row) => row.integrity_check).filter((line) => line !== "ok"), ...(await brokenReferences(this.kysely))];
  }
}

/** Rows that refer to nothing, in words. */
async function brokenReferences(db: Kysely<Database>): Promise<readonly string[]> {
  // A table without row ids answers none.
  const { rows } = await sql<{ table: string; rowid: number | null; parent: string }>`pragma foreign_key_check`.execute(db);
  return rows.map(
    ({ table, rowid, parent }) => `${rowid === null ? "a row" : `row ${rowid}`} of ${table} names a row of ${parent} that does not exist`,
  );
}

/** Kysely over the one {@link SqliteConnection}: each query and each transaction takes its turn in the connection's line. */
function sqliteDialect(connection: SqliteConnection): Dialect {
  return {
    createAdapter: () => new TransactionalAdapter(),
    createDriver: () => new OneConnectionDriver(connection),
    createIntrospector: (db: Kysely<unknown>) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

class OneConnectionDriver implements Driver {
  readonly #connection: SqliteConnection;
  readonly #queries: DatabaseConnection;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
    this.#queries = new PreparedQueries(connection);
  }

  async init(): Promise<void> {
    // The connection is open already, so that its failures show before anything is built on it.
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    await this.#connection.acquire();
    return this.#queries;
  }

  async releaseConnection(): Promise<void> {
    this.#connection.release();
  }

  /** IMMEDIATE: a transaction that began by reading cannot become a writing one when another process has written meanwhile. */
  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(this.#connection.readOnly ? "begin" : "begin immediate"));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("commit"));
  }

  async rollbackTransaction(): Promise<void> {
    this.#connection.rollback();
  }

  async destroy(): Promise<void> {
    await this.#connection.close();
  }
}

class PreparedQueries implements DatabaseConnection {
  readonly #connection: SqliteConnection;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    try {
      const { statement, answersRows } = this.#connection.prepared(query.sql);
      if (answersRows) return { rows: statement.all(...query.parameters) as Row[] };
      const { changes, lastInsertRowid } = statement.run(...query.parameters);
      return { numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid), rows: [] };
    } catch (thrown) {
      throw sqliteFailure(thrown, this.#connection.name);
    }
  }

  streamQuery(): AsyncIterableIterator<never> {
    throw new TypeError("The store reads by pages; it does not stream.");
  }
}
