import type { Dir } from "node:fs";
import { lstat, opendir, readdir, rename, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../../domain/errors.ts";

/** A folder directly below the root, as the walk found it. */
export interface FoundFolder {
  readonly name: string;
  readonly path: string;
  readonly mtimeMs: number;
}

/**
 * Walks the folders directly below `root`, a bounded number at a time, from where the last walk stopped. Skips links and files: a link
 * could lead anywhere.
 */
export class FolderWalk {
  readonly #root: string;
  #open: Dir | undefined;

  constructor(root: string) {
    this.#root = root;
  }

  /** The next folders; `more` is false at the end of a round, and the next call starts over. */
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
 * Removes a folder directly below `root`. Links inside are removed, not followed; a link in the folder's place is left alone. Returns
 * whether something was removed.
 * @throws When `name` is not one plain file name.
 */
export async function removeFolder({ root, name }: { readonly root: string; readonly name: string }): Promise<boolean> {
  if (name === "" || name === "." || name === ".." || /[/\\\0]/.test(name))
    throw new Error(`${JSON.stringify(name)} is no folder below ${root}`);
  const path = join(root, name);
  if ((await lstatFolder(path)) === undefined) return false;
  await removeTree(path);
  return true;
}

/** The longest path that the system takes has 4,096 bytes; below a folder at this length any name still fits. */
const pathBytesMax = 3_000;

/** Removes a folder however deep it is. One that is too deep for a path is moved up first, directly below `top`, and its turn comes again. */
async function removeTree(top: string): Promise<void> {
  // A crash half-way leaves some of the names.
  const taken = new Set(await readdir(top));
  let last = 0;
  const freeName = (): string => {
    do last += 1;
    while (taken.has(`.deep-${last}`));
    return `.deep-${last}`;
  };
  const empty = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (!entry.isDirectory()) await unlessGone(unlink(path));
      else if (Buffer.byteLength(path) >= pathBytesMax) await rename(path, join(top, freeName()));
      else {
        await empty(path);
        await unlessGone(rmdir(path));
      }
    }
  };
  let before: number;
  do {
    before = last;
    await empty(top);
  } while (last > before);
  await unlessGone(rmdir(top));
}

async function unlessGone(removal: Promise<void>): Promise<void> {
  try {
    await removal;
  } catch (thrown) {
    if (!hasCode(thrown, "ENOENT")) throw thrown;
  }
}
