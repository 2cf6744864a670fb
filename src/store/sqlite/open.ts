import { accessSync, constants, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { DatabaseSync, type DatabaseSyncInstance } from "@photostructure/sqlite";
import { CompiledQuery } from "kysely";
import { hasCode, messageOf, WakefulError } from "../../domain/errors.ts";
import type { Instant } from "../../domain/time.ts";
import { HintBoard } from "../engine/hint-board.ts";
import { checkSchema, type MigrationTarget, migrate } from "../engine/migrator.ts";
import type { StoreClock } from "../engine/store-clock.ts";
import type { StoreParts } from "../engine/store-parts.ts";
import type { FirstChecks } from "../jobs/claim-rules.ts";
import { sqliteMigrations } from "../migrations/sqlite.ts";
import { DiskFullError, StoreLockedError, StoreLogUnreadableError, StoreReadOnlyError } from "../port/errors.ts";
import { newestInstant } from "../upkeep/newest-instant.ts";
import { SqliteConnection } from "./connection.ts";
import { SqliteEngine } from "./engine.ts";
import { sqliteFailure } from "./failures.ts";
import { createHotVerbs } from "./hot-verbs.ts";
import { makePrivateFile } from "./private-file.ts";

export interface OpenSqliteOptions {
  /** The file, or `:memory:`. */
  readonly path: string;
  readonly clock: StoreClock;
  readonly synchronous?: "full" | "normal" | undefined;
  readonly lock?: boolean | undefined;
  readonly checks?: FirstChecks | undefined;
}

/** Opens the embedded store for its one owner: lock, schema, clock. */
export async function openSqlite(options: OpenSqliteOptions): Promise<StoreParts> {
  const { path, clock } = options;
  const inMemory = path === ":memory:";
  const lock = inMemory || options.lock === false ? undefined : lockStore(path, { now: clock.now() });
  try {
    const connection = new SqliteConnection({ path, synchronous: options.synchronous });
    const hints = new HintBoard();
    const engine = new SqliteEngine({ connection, hints, now: () => clock.now() });
    try {
      await migrate(targetOf(engine), sqliteMigrations);
      const newest = await newestInstant(engine.kysely);
      if (newest !== undefined) clock.floor?.(newest);
    } catch (thrown) {
      await connection.close();
      throw thrown;
    }
    return {
      engine,
      hints,
      hot: createHotVerbs(engine, options.checks),
      release: async () => {
        await connection.close();
        lock?.release();
      },
    };
  } catch (thrown) {
    lock?.release();
    throw thrown;
  }
}

/** Opens the file for reading alone, when no process owns it: nothing is migrated, and every write is refused as `store_read_only`. */
export async function openSqliteReadOnly(options: { readonly path: string; readonly clock: StoreClock }): Promise<StoreParts> {
  const { path, clock } = options;
  if (!existsSync(path)) throw new StoreReadOnlyError({ store: path, found: "there is no such file" });
  mayRead(path);
  const { held, holder } = findLockHolder(path);
  if (held) throw new StoreLockedError({ path, holder });
  const connection = openToRead(path);
  const hints = new HintBoard();
  const engine = new SqliteEngine({ connection, hints, now: () => clock.now() });
  try {
    await checkSchema(targetOf(engine), sqliteMigrations);
  } catch (thrown) {
    await connection.close();
    throw thrown;
  }
  return { engine, hints, hot: createHotVerbs(engine), release: async () => await connection.close() };
}

/** @throws {WakefulError} `forbidden`: what cannot be read is neither locked nor damaged. */
function mayRead(path: string): void {
  for (const each of [path, lockPathOf(path)]) {
    try {
      if (existsSync(each)) accessSync(each, constants.R_OK);
    } catch (cause) {
      throw new WakefulError("forbidden", `You may not read ${each}. Call as the user who owns it.`, { cause, details: { path: each } });
    }
  }
}

/** Nobody owns the file. A folder that cannot be written may lack what SQLite keeps beside a file of this kind, and cannot be given it. */
function openToRead(path: string): SqliteConnection {
  try {
    return new SqliteConnection({ path, readOnly: true });
  } catch (thrown) {
    if (!(thrown instanceof StoreReadOnlyError)) throw thrown;
    const log = statSync(`${path}-wal`, { throwIfNoEntry: false });
    if (log === undefined || log.size === 0) return new SqliteConnection({ path, readOnly: true, immutable: true });
    throw new StoreLogUnreadableError({ store: path, cause: thrown });
  }
}

/** What the migrator needs of the embedded engine: its write transactions are alone in the file. */
export function targetOf(engine: SqliteEngine): MigrationTarget {
  return {
    kysely: engine.kysely,
    name: engine.connection.name,
    now: engine.now,
    transaction: async (body, { rebuilds }) => await (rebuilds ? engine.rebuild(body) : engine.transaction(body)),
    // The driver's exec takes many statements; the transaction that holds the connection is open on it.
    runText: async (_tx, text) => engine.connection.db.exec(text),
    hasHistory: async (db) => {
      const found = await db.executeQuery<{ n: number }>(
        CompiledQuery.raw("select count(*) as n from sqlite_schema where type = 'table' and name = 'migrations'"),
      );
      return (found.rows[0]?.n ?? 0) > 0;
    },
  };
}

const lockPathOf = (path: string): string => `${path}.lock`;
const holderPathOf = (path: string): string => `${path}.lock.holder`;

/** The kernel's lock on a store's file. Held until released, or until the process is gone, however it went. */
interface StoreLock {
  release(): void;
}

/**
 * Locks the store for this process: an exclusive lock on a second, empty SQLite file leaves readers of the store free, and the kernel
 * unlocks it at death. The name beside it only feeds messages.
 *
 * @throws {StoreLockedError} Another process has it, or this one under another handle.
 */
function lockStore(path: string, options: { readonly now: Instant }): StoreLock {
  // A probing reader may hold the file for an instant; an owner holds it for its life.
  const db = openLockFile(path, { timeoutMs: 250 });
  try {
    // No journal: the transaction writes nothing, it is only the lock.
    db.exec("pragma journal_mode = off");
    db.exec("begin exclusive");
  } catch (thrown) {
    db.close();
    throw isBusy(thrown) ? new StoreLockedError({ path, holder: readHolder(path) }) : sqliteFailure(thrown, lockPathOf(path));
  }
  try {
    // A lock file that may only be read opens all the same, and then locks nobody out.
    accessSync(lockPathOf(path), constants.W_OK);
    makePrivateFile(holderPathOf(path));
    writeFileSync(holderPathOf(path), `${JSON.stringify({ pid: process.pid, startedAt: new Date(options.now).toISOString() })}\n`);
  } catch (thrown) {
    db.close();
    throw fileFailure(thrown, path);
  }
  return { release: () => db.close() };
}

/** Whether some process owns the store now, and its name where it left one. Needs no right to write. */
function findLockHolder(path: string): { readonly held: boolean; readonly holder: ReturnType<typeof readHolder> } {
  if (!existsSync(lockPathOf(path))) return { held: false, holder: undefined };
  const db = openLockFile(path, { timeoutMs: 0, readOnly: true });
  try {
    db.prepare("select count(*) from sqlite_schema").get();
    return { held: false, holder: undefined };
  } catch (thrown) {
    if (!isBusy(thrown)) throw sqliteFailure(thrown, lockPathOf(path));
    return { held: true, holder: readHolder(path) };
  } finally {
    db.close();
  }
}

/** A file beside the store that cannot be written, as what it means for the store. */
function fileFailure(thrown: unknown, store: string): Error {
  return hasCode(thrown, "ENOSPC", "EDQUOT")
    ? new DiskFullError({ store, cause: thrown })
    : new StoreReadOnlyError({ store, found: messageOf(thrown), cause: thrown });
}

function openLockFile(
  path: string,
  options: { readonly timeoutMs: number; readonly readOnly?: boolean | undefined },
): DatabaseSyncInstance {
  try {
    if (options.readOnly !== true) makePrivateFile(lockPathOf(path));
    return new DatabaseSync(lockPathOf(path), { timeout: options.timeoutMs, readOnly: options.readOnly ?? false });
  } catch (thrown) {
    throw sqliteFailure(thrown, lockPathOf(path));
  }
}

function isBusy(thrown: unknown): boolean {
  return typeof thrown === "object" && thrown !== null && Reflect.get(thrown, "sqliteCodeName") === "SQLITE_BUSY";
}

function readHolder(path: string): { readonly pid: number; readonly startedAt: string } | undefined {
  let text: string;
  try {
    text = readFileSync(holderPathOf(path), "utf8");
  } catch {
    // No name: the holder has not written it yet, or it is another user's.
    return undefined;
  }
  const match = /^\{"pid":(\d+),"startedAt":"([^"]+)"\}\s*$/.exec(text);
  return match?.[1] === undefined || match[2] === undefined ? undefined : { pid: Number(match[1]), startedAt: match[2] };
}
