import { accessSync, constants, existsSync, readFileSync, writeFileSync } from "node:fs";
import { DatabaseSync, type DatabaseSyncInstance } from "@photostructure/sqlite";
import { hasCode, isWakefulError, messageOf } from "../../domain/errors.ts";
import type { Instant } from "../../domain/time.ts";
import { FileHeldError, type HeldFile, holdFile } from "../../files/held-file.ts";
import { DiskFullError, StoreLockedError, StoreReadOnlyError } from "../port/errors.ts";
import { sqliteFailure } from "./failures.ts";
import { makePrivateFile } from "./private-file.ts";
import { refuseHardLinks } from "./store-file.ts";

export const lockPathOf = (path: string): string => `${path}.lock`;
const holderPathOf = (path: string): string => `${path}.lock.holder`;

/** The kernel's lock on a store's file. Held until released, or until the process is gone, however it went. */
export interface StoreLock {
  /** The store's own file. */
  readonly file: HeldFile;
  /** To be called when the store is closed: closing any descriptor of its file ends SQLite's own locks. */
  release(): void;
}

/**
 * Locks the store in two ways: its own file, under every name of it; and a second, empty SQLite file, for earlier versions and systems
 * without `flock`. Both leave readers free. The name beside them only feeds messages.
 *
 * @throws {StoreLockedError} Another process has it, or this one under another handle.
 */
export function lockStore(path: string, options: { readonly now: Instant }): StoreLock {
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
  let file: HeldFile | undefined;
  try {
    // A lock file that may only be read opens all the same, and then locks nobody out.
    accessSync(lockPathOf(path), constants.W_OK);
    refuseHardLinks(path);
    makePrivateFile(path);
    file = holdFile(path);
    makePrivateFile(holderPathOf(path));
    writeFileSync(holderPathOf(path), `${JSON.stringify({ pid: process.pid, startedAt: new Date(options.now).toISOString() })}\n`);
  } catch (thrown) {
    file?.release();
    db.close();
    throw fileFailure(thrown, path);
  }
  const held = file;
  return {
    file: held,
    release: () => {
      held.release();
      db.close();
    },
  };
}

/** Whether some process owns the store now, and its name where it left one. Needs no right to write. */
export function findLockHolder(path: string): { readonly held: boolean; readonly holder: ReturnType<typeof readHolder> } {
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
  if (isWakefulError(thrown)) return thrown;
  if (thrown instanceof FileHeldError) return new StoreLockedError({ path: store, holder: readHolder(store) });
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
