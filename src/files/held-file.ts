import { spawnSync } from "node:child_process";
import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { codeOf } from "../domain/errors.ts";

/** Somebody else holds the file. */
export class FileHeldError extends Error {
  override readonly name = "FileHeldError";
}

/** A file that this process holds: the kernel's lock on it, for as long as the descriptor is open. */
export interface HeldFile {
  /** Whether the kernel keeps others out. False: there is no `flock` program, or the file system knows no such locks. */
  readonly locked: boolean;
  /** What has become of the name that was opened. Undefined: it still names this file. */
  lost(): string | undefined;
  release(): void;
}

/**
 * Opens a file, makes it if it is missing, and locks it under all its names. The lock belongs to the open file: a copy or deletion does not
 * end it, the end of the process does.
 *
 * @throws {FileHeldError} Another process holds it, or this one does already.
 */
export function holdFile(path: string): HeldFile {
  // Node opens files so that no program which it starts inherits them: the lock ends with this process alone.
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK, 0o600);
  try {
    const locked = lock(file);
    return { locked, lost: () => lostName(path, file), release: () => closeSync(file) };
  } catch (thrown) {
    closeSync(file);
    throw thrown;
  }
}

/** The program's answer where somebody else has the lock. */
const heldStatus = 1;

/** Node has no call for it. The program locks the open file that it is handed, and the lock outlives it. */
function lock(file: number): boolean {
  const { status, error } = spawnSync("flock", ["-x", "-n", "3"], { stdio: ["ignore", "ignore", "ignore", file], timeout: 10_000 });
  if (error !== undefined) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
  if (status === heldStatus) throw new FileHeldError("another process holds the file");
  // Any other failure: a file system that knows no such locks.
  return status === 0;
}

function lostName(path: string, file: number): string | undefined {
  const ours = fstatSync(file);
  if (ours.nlink === 0) return `${path} was deleted`;
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return `${path} was moved away`;
  return found.ino === ours.ino && found.dev === ours.dev ? undefined : `another file stands in the place of ${path}`;
}
