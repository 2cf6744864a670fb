import { pathToFileURL } from "node:url";
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from "@photostructure/sqlite";
import { storeClosed } from "../port/errors.ts";
import { sqliteFailure } from "./failures.ts";
import { makePrivateFile } from "./private-file.ts";

export type StatementSync = StatementSyncInstance;

/** A prepared statement and whether it answers rows, asked once. */
export interface PreparedStatement {
  readonly statement: StatementSync;
  readonly answersRows: boolean;
}

export interface SqliteConnectionOptions {
  /** The file, or `:memory:`. */
  readonly path: string;
  /** `full`: a commit survives a power cut. `normal`: it survives the death of the process. Default `full`. */
  readonly synchronous?: "full" | "normal" | undefined;
  /** How long a statement waits for a lock that another process holds. Default 5000. */
  readonly busyTimeoutMs?: number | undefined;
  readonly readOnly?: boolean | undefined;
  /**
   * Read the file alone, without the log and the shared memory beside it, which a folder that cannot be written may not get. Only where
   * there is no log, and nobody writes.
   */
  readonly immutable?: boolean | undefined;
}

/** Kysely writes a statement per length of an IN list; beyond this many the least recently used ones go. */
const cachedStatementsMax = 400;

/**
 * The one connection of the embedded engine. A transaction takes it with {@link exclusive}: Kysely's are asynchronous, and a hot statement
 * between two of their turns would land inside.
 */
export class SqliteConnection {
  readonly db: DatabaseSyncInstance;
  /** What error messages call it. */
  readonly name: string;
  readonly readOnly: boolean;
  /** Called after each use, whatever it was. */
  onUse: (() => void) | undefined;
  readonly #busyTimeoutMs: number;
  readonly #statements = new Map<string, PreparedStatement>();
  readonly #waiting: (() => void)[] = [];
  #held = false;
  #closed = false;
  #refusal: Error | undefined;

  constructor(options: SqliteConnectionOptions) {
    this.name = options.path;
    this.readOnly = options.readOnly ?? false;
    this.#busyTimeoutMs = options.busyTimeoutMs ?? 5000;
    try {
      if (!this.readOnly && options.path !== ":memory:") makePrivateFile(options.path);
      this.db = new DatabaseSync(options.immutable === true ? immutableUrl(options.path) : options.path, {
        timeout: this.#busyTimeoutMs,
        readOnly: this.readOnly,
        enableForeignKeyConstraints: true,
      });
      if (!this.readOnly) {
        this.db.exec("pragma journal_mode = wal");
        this.db.exec(`pragma synchronous = ${options.synchronous ?? "full"}`);
      }
      this.db.exec("pragma foreign_keys = on");
      this.db.exec("pragma temp_store = memory");
      // Reading the schema now makes a file that is no database fail here, and not in the middle of work.
      this.db.prepare("select count(*) from sqlite_schema").get();
    } catch (thrown) {
      throw sqliteFailure(thrown, options.path);
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The statement, prepared at its first use: preparing in a loop is slow, and frees memory only when the event loop turns. */
  prepare(sql: string): StatementSync {
    return this.prepared(sql).statement;
  }

  prepared(sql: string): PreparedStatement {
    this.#mustBeOurs();
    const known = this.#statements.get(sql);
    if (known !== undefined) {
      // Moved to the end: a Map iterates in the order of insertion, so its first key is the least recently used.
      this.#statements.delete(sql);
      this.#statements.set(sql, known);
      return known;
    }
    const statement = this.db.prepare(withHiddenLimits(sql));
    const made = { statement, answersRows: statement.columns().length > 0 };
    this.#statements.set(sql, made);
    if (this.#statements.size > cachedStatementsMax) {
      const oldest = this.#statements.keys().next();
      if (oldest.done !== true) this.#statements.delete(oldest.value);
    }
    return made;
  }

  /** Waits in line for the connection; resolves to nothing when the caller has it, and must {@link release} it. */
  async acquire(): Promise<void> {
    this.#mustBeOurs();
    if (this.#held) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#held = true;
    try {
      this.#mustBeOurs();
    } catch (thrown) {
      this.release();
      throw thrown;
    }
  }

  /** From now on every use is answered with this error; undefined: no longer. For a file that is not the store any more. */
  refuse(error: Error | undefined): void {
    this.#refusal = error;
  }

  #mustBeOurs(): void {
    if (this.#closed) throw storeClosed();
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  release(): void {
    this.onUse?.();
    const next = this.#waiting.shift();
    // Handed over while still held, so that nobody who asks in between overtakes the line.
    if (next === undefined) this.#held = false;
    else next();
  }

  /** Runs `body` with the connection to itself, first come, first served. Not re-entrant. */
  async exclusive<T>(body: () => Promise<T> | T): Promise<T> {
    await this.acquire();
    try {
      return await body();
    } catch (thrown) {
      throw sqliteFailure(thrown, this.name);
    } finally {
      this.release();
    }
  }

  /** A write transaction around synchronous statements; call it inside {@link exclusive}. What `body` throws rolls it back. */
  immediate<T>(body: () => T): T {
    const begin = this.prepare("begin immediate");
    const commit = this.prepare("commit");
    begin.run();
    try {
      const result = body();
      commit.run();
      return result;
    } catch (thrown) {
      this.rollback();
      throw sqliteFailure(thrown, this.name);
    }
  }

  /** Runs statements that fail, or answer busy, where they would wait for a lock of another process; call it inside {@link exclusive}. */
  withoutWaiting<T>(body: () => T): T {
    this.db.exec("pragma busy_timeout = 0");
    try {
      return body();
    } finally {
      this.db.exec(`pragma busy_timeout = ${this.#busyTimeoutMs}`);
    }
  }

  /** Ends the transaction, if one is open: after a full disk or an I/O error the engine has rolled back by itself. */
  rollback(): void {
    if (this.db.isTransaction) this.db.exec("rollback");
  }

  /** Waits for whoever has the connection, then closes it; everyone behind in line is refused. */
  async close(): Promise<void> {
    if (this.#closed) return;
    if (this.#held) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#held = true;
    this.#closed = true;
    this.#statements.clear();
    this.#foldLog();
    this.db.close();
    this.release();
  }

  /**
   * Folds the write-ahead log into the file. Closing does not: the driver frees prepared statements only later. Who may read the file but
   * not write its folder cannot read one that has a log.
   */
  #foldLog(): void {
    // What stands at the path now is not ours to change.
    if (this.readOnly || this.#refusal !== undefined) return;
    try {
      this.db.exec("pragma busy_timeout = 0");
      this.db.exec("pragma journal_mode = delete");
    } catch {
      // Another reader or a full disk: the log stays beside the file, and the next opening reads both.
    }
  }
}

function immutableUrl(path: string): URL {
  const url = pathToFileURL(path);
  url.searchParams.set("immutable", "1");
  return url;
}

/**
 * SQLite looks at a limit that is a parameter, and plans such a statement anew at each run: 3 us, and 40 for a claim. An expression has no
 * value to look at.
 */
const withHiddenLimits = (sql: string): string => sql.replaceAll(/\blimit \?/g, "$& + 0");
