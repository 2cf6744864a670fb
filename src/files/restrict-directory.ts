import { chmod, readdir, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { messageOf } from "../domain/errors.ts";

/** A data directory that others could look into, and what became of that. */
export interface ExposedDirectory {
  readonly path: string;
  /** As it was found: `755`. */
  readonly mode: string;
  /** Why it stays open; null: it is closed now. */
  readonly left: string | null;
}

export interface RestrictDirectoryOptions {
  readonly dataDir: string;
  /** Where the store is: its file may have a name of its own in there. */
  readonly store: string;
  /** This process's user. */
  readonly uid: number | undefined;
}

/** What a daemon makes in its data directory, and what a volume's own file system does. A store's files begin with its name. */
const ours: ReadonlySet<string> = new Set(
  "lock store host-id start tokens wakeful.sock handler-host runs work hold reports alerts.jsonl alerts.jsonl.1 ballast lost+found".split(
    " ",
  ),
);

/**
 * Closes a data directory to others (0700) if it is this user's and holds only our files: `dataDir: .` or `/srv` may be needed by others.
 * Undefined: it was closed before. Never rejects; a failure is in the answer.
 */
export async function restrictDirectory({ dataDir, store, uid }: RestrictDirectoryOptions): Promise<ExposedDirectory | undefined> {
  const found = await stat(dataDir).catch(() => undefined);
  if (found === undefined || uid === undefined || (found.mode & 0o077) === 0) return undefined;
  const open = { path: dataDir, mode: (found.mode & 0o7777).toString(8) };
  if (found.uid !== uid) return { ...open, left: `it belongs to user ${found.uid}, and this is user ${uid}` };
  try {
    const names = ["wakeful.db", ...(dirname(store) === dataDir ? [basename(store)] : [])];
    const foreign = (await readdir(dataDir)).find((entry) => !ours.has(entry) && !names.some((name) => entry.startsWith(name)));
    if (foreign !== undefined) return { ...open, left: `it holds ${JSON.stringify(foreign)}, which is not ours` };
    await chmod(dataDir, 0o700);
    return { ...open, left: null };
  } catch (thrown) {
    return { ...open, left: messageOf(thrown) };
  }
}
