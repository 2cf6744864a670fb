import { mkdir, rm } from "node:fs/promises";
import { codeOf, hasCode, messageOf, WakefulError } from "../domain/errors.ts";
import type { DataPaths } from "./data-paths.ts";
import { makeDirectory } from "./make-directory.ts";

/**
 * Makes the data directory for its owner alone (0700), with the folders that everything in it relies on, and tries whether it can be written.
 * @throws {WakefulError} `store_read_only`, naming the directory.
 */
export async function prepareDataDirectory({ dataDir, runsDir, workDir }: DataPaths): Promise<void> {
  try {
    for (const path of [dataDir, runsDir, workDir]) await makeDirectory(path, { mode: 0o700 });
    const trial = `${dataDir}/.writable`;
    await mkdir(trial).catch((thrown: unknown) => {
      // Left behind by a start that was killed right here.
      if (!hasCode(thrown, "EEXIST")) throw thrown;
    });
    await rm(trial, { recursive: true });
  } catch (cause) {
    throw notWritable(dataDir, cause);
  }
}

/**
 * Makes the data directory alone, for callers that need only the store in it.
 *
 * @throws {WakefulError} `store_read_only`, naming the directory.
 */
export async function makeDataDirectory(dataDir: string): Promise<void> {
  try {
    await makeDirectory(dataDir, { mode: 0o700 });
  } catch (cause) {
    throw notWritable(dataDir, cause);
  }
}

function notWritable(dataDir: string, cause: unknown): WakefulError {
  return new WakefulError(
    "store_read_only",
    `The data directory ${dataDir} cannot be written: ${messageOf(cause)}. ${remedyOf(cause)}, or name another with --data-dir.`,
    { cause, details: { dataDir } },
  );
}

function remedyOf(cause: unknown): string {
  const code = codeOf(cause);
  if (code === "EEXIST" || code === "ENOTDIR") return "Move away what lies in its place and is no folder";
  if (code === "EACCES" || code === "EPERM") return "Start as the user whose it is, or give it to this one";
  return "Mount it writable";
}
