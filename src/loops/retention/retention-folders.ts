import type { Dir } from "node:fs";
import { lstat, opendir, rm } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../../domain/errors.ts";

/** A folder directly below one of ours, as it was found. */
export interface FoundFolder {
  readonly name: string;
  readonly path: string;
  readonly mtimeMs: number;
}

/**
 * Walks the folders directly below `root` a bounded number at a time, going on where the last walk stopped. Links and files are passed
 * over: what is removed by age must be ours, and a link could lead anywhere.
 */
export class FolderWalk {
  readonly #root: string;
  #open: Dir | undefined;

  constructor(root: string) {
    this.#root = root;
  }

  /** The next folders; `more` is false when the walk is round and begins anew next time. */
  async next(max: number): Promise<{ readonly folders: readonly FoundFolder[]; readonly more: boolean }> {
    const folders: FoundFolder[] = [];
    try {
      this.#open ??= await opendir(this.#root);
      for (let looked = 0; looked < max; looked++) {
        const entry = await this.#open.read();
        if (entry === null) {
          await this.close();
          return { folders, more: false };
        }
        const path = join(this.#root, entry.name);
        const found = await lstatFolder(path);
        if (found !== undefined) folders.push({ name: entry.name, path, mtimeMs: found });
      }
      return { folders, more: true };
    } catch (thrown) {
      await this.close();
      if (hasCode(thrown, "ENOENT")) return { folders, more: false };
      throw thrown;
    }
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.close();
  }
}

async function lstatFolder(path: string): Promise<number | undefined> {
  try {
    const found = await lstat(path);
    return found.isDirectory() ? found.mtimeMs : undefined;
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT")) return undefined;
    throw thrown;
  }
}

/**
 * Removes a folder that lies directly below `root`. Links inside are removed and not followed; a link in the folder's own place is left
 * alone. Answers whether something was removed.
 * @throws When `name` is not one plain file name.
 */
export async function removeFolder({ root, name }: { readonly root: string; readonly name: string }): Promise<boolean> {
  if (name === "" || name === "." || name === ".." || /[/\\\0]/.test(name))
    throw new Error(`${JSON.stringify(name)} is no folder below ${root}`);
  const path = join(root, name);
  if ((await lstatFolder(path)) === undefined) return false;
  await rm(path, { recursive: true, force: true });
  return true;
}
