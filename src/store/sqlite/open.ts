import { accessSync, constants, existsSync, statSync } from "node:fs";
import { WakefulError } from "../../domain/errors.ts";
import type { StoreClock } from "../engine/engine.ts";
import { HintBoard } from "../engine/hint-board.ts";
import type { TellMigration } from "../engine/migration.ts";
import { checkSchema, migrate } from "../engine/migrator.ts";
import type { StoreParts } from "../engine/store-parts.ts";
import type { FirstChecks } from "../jobs/claim-rules.ts";
import { sqliteMigrations } from "../migrations/sqlite.ts";
import { StoreLockedError, StoreLogUnreadableError, StoreReadOnlyError } from "../port/errors.ts";
import { newestInstant } from "../upkeep/newest-instant.ts";
import { SqliteConnection } from "./connection.ts";
import { SqliteEngine } from "./engine.ts";
import { FileWatch } from "./file-watch.ts";
import { createHotVerbs } from "./hot-verbs.ts";
import { findLockHolder, lockPathOf, lockStore } from "./lock.ts";
import { LogCutter } from "./log-cutter.ts";
import { targetOf } from "./migration-target.ts";
import { realStorePath } from "./store-file.ts";

export interface OpenSqliteOptions {
  /** The file, or `:memory:`. */
  readonly path: string;
  readonly clock: StoreClock;
  readonly synchronous?: "full" | "normal" | undefined;
  readonly lock?: boolean | undefined;
  readonly checks?: FirstChecks | undefined;
  readonly tellMigration?: TellMigration | undefined;
}

/** Opens the embedded store for its one owner: lock, schema, clock. */
export async function openSqlite(options: OpenSqliteOptions): Promise<StoreParts> {
  const { clock } = options;
  const inMemory = options.path === ":memory:";
  const path = inMemory ? options.path : realStorePath(options.path);
  const lock = inMemory || options.lock === false ? undefined : lockStore(path, { now: clock.now() });
  try {
    const connection = new SqliteConnection({ path, synchronous: options.synchronous });
    const hints = new HintBoard();
    const log = inMemory ? undefined : new LogCutter({ connection });
    // A process that was killed may have left a long one. The migrations need not write it back on the event loop.
    log?.look();
    const engine = new SqliteEngine({ connection, hints, now: () => clock.now(), log });
    let watch: FileWatch | undefined;
    const close = async (): Promise<void> => {
      watch?.stop();
      await log?.stop();
      await connection.close();
    };
    try {
      await migrate(targetOf(engine), sqliteMigrations, options.tellMigration);
      const newest = await newestInstant(engine.kysely);
      if (newest !== undefined) clock.floor?.(newest);
      watch = lock === undefined ? undefined : new FileWatch({ connection, held: lock.file });
    } catch (thrown) {
      await close();
      throw thrown;
    }
    return {
      engine,
      hints,
      hot: createHotVerbs(engine, options.checks),
      release: async () => {
        await close();
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
  const { clock } = options;
  const path = realStorePath(options.path);
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
