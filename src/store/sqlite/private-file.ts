import { closeSync, constants, fchmodSync, openSync } from "node:fs";

const ownerOnly = 0o600;

/**
 * Makes a missing file, empty and for its owner alone whatever the umask. SQLite would follow the umask, and gives its log and shared
 * memory the file's mode. An existing file keeps its mode.
 */
export function makePrivateFile(path: string): void {
  let file: number;
  try {
    file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, ownerOnly);
  } catch {
    // It exists or cannot be made: SQLite opens it next, and the store's errors say which.
    return;
  }
  try {
    // A strict umask may have taken the owner's own rights as well.
    fchmodSync(file, ownerOnly);
  } finally {
    closeSync(file);
  }
}
