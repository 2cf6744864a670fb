import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { hasCode } from "../src/domain/errors.ts";

/** A text file of the repository, its path relative to the root with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** The repository's root, wherever a script is started from. */
export const repositoryRoot: string = fileURLToPath(new URL("..", import.meta.url)).replace(/[\\/]$/, "");

const ignoredFolders = new Set(["node_modules", "dist", "coverage", "data", ".git"]);

/** Every file under `folders` (or single files) whose name ends in one of `endings`, sorted by path. A folder that does not exist is empty. */
export function readSources({
  folders,
  endings,
}: {
  readonly folders: readonly string[];
  readonly endings: readonly string[];
}): SourceFile[] {
  return folders
    .flatMap((folder) => [...filesUnder(join(repositoryRoot, folder))])
    .filter((path) => endings.some((ending) => path.endsWith(ending)))
    .map((path) => ({ path: relative(repositoryRoot, path).split(sep).join("/"), text: readFileSync(path, "utf8") }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

export const isTestFile = (path: string): boolean => path.endsWith(".test.ts") || path.endsWith(".test.tsx");

function* filesUnder(path: string): Generator<string> {
  let entries: ReturnType<typeof readEntries>;
  try {
    entries = readEntries(path);
  } catch (error) {
    if (hasCode(error, "ENOTDIR")) yield path;
    else if (!hasCode(error, "ENOENT")) throw error;
    return;
  }
  for (const entry of entries) {
    if (entry.isDirectory()) {
      if (!ignoredFolders.has(entry.name)) yield* filesUnder(join(path, entry.name));
    } else if (entry.isFile()) {
      yield join(path, entry.name);
    }
  }
}

const readEntries = (path: string) => readdirSync(path, { withFileTypes: true });
