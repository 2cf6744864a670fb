import { chmod, mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { hasCode } from "../domain/errors.ts";
import { modeForPeople } from "../runtime/umask.ts";

/**
 * Makes a folder and its missing parents step by step. Node's recursive `mkdir` loops for ever below a file system such as procfs, where
 * making a folder fails with ENOENT. A folder that exists stays as it is.
 *
 * @throws The system's error, which names the path that could not be made.
 */
export async function makeDirectory(path: string, options: { readonly mode?: number | undefined } = {}): Promise<void> {
  if (await made(path, options)) return;
  const parent = dirname(path);
  if (parent !== path) await makeDirectory(parent, options);
  // Once more only: the parent is there now, so a second ENOENT is final.
  await mkdirOrFind(path, options);
}

/**
 * Makes a folder that people and their programs share, with the umask that this process was started with: its own keeps others out. A folder
 * that exists stays as it is.
 *
 * @throws As {@link makeDirectory}.
 */
export async function makeSharedDirectory(path: string): Promise<void> {
  const mode = modeForPeople(0o777);
  const missing: string[] = [];
  for (let each = path; !(await isDirectory(each)) && dirname(each) !== each; each = dirname(each)) missing.push(each);
  await makeDirectory(path);
  if (mode === undefined) return;
  // A folder takes its group's bit from its parent, which stays.
  for (const each of missing) await chmod(each, mode | ((await stat(each)).mode & 0o2000));
}

async function made(path: string, options: { readonly mode?: number | undefined }): Promise<boolean> {
  try {
    await mkdirOrFind(path, options);
    return true;
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT")) return false;
    throw thrown;
  }
}

async function mkdirOrFind(path: string, options: { readonly mode?: number | undefined }): Promise<void> {
  try {
    await mkdir(path, options);
  } catch (thrown) {
    // Not always EEXIST: a read-only file system may refuse before it looks whether the folder is there.
    if (hasCode(thrown, "ENOENT") || !(await isDirectory(path))) throw thrown;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    // The failure to make it says more than the failure to look at it.
    return false;
  }
}
