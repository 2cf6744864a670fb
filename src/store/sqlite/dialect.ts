import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import type { SqliteConnection } from "./connection.ts";
import { sqliteFailure } from "./failures.ts";

/** Kysely over the one {@link SqliteConnection}: each query and each transaction takes its turn in the connection's line. */
export function sqliteDialect(connection: SqliteConnection): Dialect {
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
    // The connection is open already: it is made, and its failures are told, before anything is built on it.
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
