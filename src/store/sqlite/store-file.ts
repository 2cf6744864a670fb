import { lstatSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { WakefulError } from "../../domain/errors.ts";

const linksMax = 40;

/**
 * The path that SQLite itself goes by: what lies beside the store, its log and its lock, is named after it. A store that was reached by a
 * symbolic link would have another lock.
 */
export function realStorePath(path: string): string {
  let file = resolve(path);
  for (let links = 0; links < linksMax; links += 1) {
    if (lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() !== true) break;
    file = resolve(dirname(file), readlinkSync(file));
  }
  try {
    return join(realpathSync(dirname(file)), basename(file));
  } catch {
    // Its folder is missing or closed: opening the file says so.
    return file;
  }
}

/** @throws {WakefulError} `config_invalid`: the file has several names. Its log is named after one of them, and would be missing under another. */
export function refuseHardLinks(path: string): void {
  const names = statSync(path, { throwIfNoEntry: false })?.nlink ?? 1;
  if (names <= 1) return;
  throw new WakefulError(
    "config_invalid",
    `The store ${path} has ${names} names (hard links). The newest of a store can lie in the log beside one name and is missing under the other. Keep one name: \`find DIR -samefile ${path}\` shows them all.`,
    { details: { path, names } },
  );
}
