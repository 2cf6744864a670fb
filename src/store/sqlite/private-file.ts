import { closeSync, constants, fchmodSync, openSync } from "node:fs";

const ownerOnly = 0o600;

/**
 * Makes the file empty and readable for its owner alone, whatever the umask, where there is none yet: SQLite would make it readable for
 * everybody that the umask lets, and gives its log and shared memory the mode of the file. A file that is there keeps the mode it was given.
 */
export function makePrivateFile(path: string): void {
  let file: number;
  try {
    file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, ownerOnly);
  } catch {
    // It is there, or cannot be made: SQLite, which opens it next, tells which, in the words of the store's errors.
    return;
  }
  try {
    // A strict umask may have taken the owner's own rights as well.
    fchmodSync(file, ownerOnly);
  } finally {
    closeSync(file);
  }
}
