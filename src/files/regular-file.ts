import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { hasCode, WakefulError } from "../domain/errors.ts";

/** A FIFO, link, folder or device lies where a regular file is expected. Nothing was read, written or followed. */
export class IrregularFileError extends WakefulError {
  override readonly name = "IrregularFileError";
  readonly path: string;

  constructor(path: string, options?: ErrorOptions) {
    super("not_a_file", `${path} is not a regular file (but a folder, a FIFO, a link or the like): move it away.`, {
      ...options,
      details: { path },
    });
    this.path = path;
  }
}

/** A link, a folder, a FIFO that nobody reads or a socket. */
const irregularCodes = ["ELOOP", "EISDIR", "ENXIO"] as const;

/**
 * Opens a file in a folder that commands can write as well: a FIFO that one has put there does not hold us, and a link leads us nowhere.
 *
 * @param flags - of `open(2)`, without `O_TRUNC`, which would empty what is not known yet.
 * @param mode - for a file that is made. Default: 0600.
 * @throws IrregularFileError (`not_a_file`) for anything but a regular file; else what the file system says.
 */
export async function openRegular(path: string, flags: number, mode = 0o600): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, mode);
  } catch (thrown) {
    if (hasCode(thrown, ...irregularCodes)) throw new IrregularFileError(path, { cause: thrown });
    throw thrown;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new IrregularFileError(path);
}

/** The text of a file that is there or not: undefined when it is not. @throws as `openRegular`. */
export async function readRegular(path: string): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await openRegular(path, constants.O_RDONLY);
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT")) return undefined;
    throw thrown;
  }
  try {
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

/**
 * Replaces a file by `text`, through a draft beside it: readers see the old one or the new one, whole and on disk. A link at `path` is
 * replaced and never followed, and so is whatever lies at the draft.
 *
 * @param draft - default: `.<name>.tmp` beside it.
 * @param mode - default: its user's alone, and no more than the umask leaves. A given one holds whatever the umask.
 * @throws What the file system says, such as `EISDIR` when `path` is a folder.
 */
export async function replaceFile({
  path,
  text,
  draft = join(dirname(path), `.${basename(path)}.tmp`),
  mode,
}: {
  readonly path: string;
  readonly text: string;
  readonly draft?: string | undefined;
  readonly mode?: number | undefined;
}): Promise<void> {
  await rm(draft, { recursive: true, force: true });
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(text);
    if (mode !== undefined) await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
}
