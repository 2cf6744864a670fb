import { createHash } from "node:crypto";
import { constants, type PathLike } from "node:fs";
import { type FileHandle, link, lstat, open, rename, rm, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { hasCode } from "../domain/errors.ts";
import { splitName } from "./file-name.ts";
import { syncToDisk } from "./small-file.ts";

/** How many names are tried before a folder counts as full of files of one name. */
const namesMax = 1000;
const chunkBytes = 1_048_576;
/** A copy is written to disk in parts, so that no single call takes long. */
const syncEveryBytes = 64 * chunkBytes;

/**
 * Moves a file, replacing `to`: by renaming, or where that crosses to another disk by a synced copy that appears whole or not at all.
 * Repeated after a crash it goes on.
 */
export async function moveFile({ from, to, alive }: FileMove): Promise<void> {
  try {
    await rename(from, to);
  } catch (thrown) {
    if (!hasCode(thrown, "EXDEV")) throw thrown;
    await copyWhole({ from, to, alive });
    await unlink(from);
  }
}

export interface FileMove {
  readonly from: PathLike;
  readonly to: string;
  /** Called after each piece of a copy. */
  readonly alive?: (() => void) | undefined;
}

export interface Placement {
  readonly from: PathLike;
  readonly dir: string;
  /** A safe name; when it is taken by another file a number is added. */
  readonly name: string;
  /** Called after each piece of a copy or a comparison. */
  readonly alive?: (() => void) | undefined;
}

/** Gives a file a second name in `dir`, replacing nothing: a link where the disk allows, else a copy. The same file again answers the name it has. */
export async function keepIn(placement: Placement): Promise<string> {
  for (const path of candidates(placement)) {
    if (await placedAt({ from: placement.from, to: path, alive: placement.alive })) return path;
  }
  throw new Error(`${placement.dir} holds ${namesMax} files called ${placement.name}: empty it.`);
}

/** The first of the names for `name` in `dir` that no file has, or that this very file has already. */
export async function freePathIn({ from, dir, name }: Placement): Promise<string> {
  for (const path of candidates({ dir, name })) {
    const there = await lstatOrUndefined(path);
    if (there === undefined || (await isSameFile(from, path))) return path;
  }
  throw new Error(`${dir} holds ${namesMax} files called ${name}: empty it.`);
}

/** Moves a file to `to`, which must be free (or this very file, from a move that a crash cut short). Answers false when another file is there. */
export async function moveToFree({ from, to, alive }: FileMove): Promise<boolean> {
  if (!(await placedAt({ from, to, alive }))) return false;
  await syncToDisk(dirname(to));
  await unlink(from);
  return true;
}

/** Gives the file the name `to` unless another file has it. Across disks, where a link cannot tell whose file is there, the content does. */
async function placedAt({ from, to, alive }: FileMove): Promise<boolean> {
  try {
    // Linking is the one way to take a name only if nobody has it.
    await link(from, to);
    return true;
  } catch (thrown) {
    if (!hasCode(thrown, "EEXIST", "EXDEV", "EPERM", "ENOTSUP", "EOPNOTSUPP", "EMLINK", "ENOSYS")) throw thrown;
  }
  const [source, there] = [await lstat(from), await lstatOrUndefined(to)];
  if (there === undefined) {
    await copyWhole({ from, to, alive });
    return true;
  }
  if (source.dev === there.dev) return source.ino === there.ino;
  return source.isFile() && there.isFile() && source.size === there.size && (await sha256Of(from, alive)) === (await sha256Of(to, alive));
}

function* candidates({ dir, name }: Pick<Placement, "dir" | "name">): Generator<string> {
  const { stem, ending } = splitName(name);
  yield join(dir, name);
  for (let number = 2; number <= namesMax; number++) yield join(dir, `${stem}~${number}${ending}`);
}

/** A whole copy of a regular file, synced before it gets its name. */
async function copyWhole({ from, to, alive }: FileMove): Promise<void> {
  const draft = `${to}.part`;
  await rm(draft, { force: true });
  const source = await open(from, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!(await source.stat()).isFile()) throw new Error(`${String(from)} is not a regular file`);
    const target = await open(draft, "wx", 0o600);
    try {
      let unsynced = 0;
      await eachChunk(source, async (chunk) => {
        await target.appendFile(chunk);
        unsynced += chunk.length;
        if (unsynced >= syncEveryBytes) {
          await target.datasync();
          unsynced = 0;
        }
        alive?.();
      });
      await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
  await rename(draft, to);
}

export async function isSameFile(a: PathLike, b: PathLike): Promise<boolean> {
  const [one, other] = [await lstatOrUndefined(a), await lstatOrUndefined(b)];
  return one !== undefined && other !== undefined && one.ino === other.ino && one.dev === other.dev;
}

export async function lstatOrUndefined(path: PathLike): Promise<Awaited<ReturnType<typeof lstat>> | undefined> {
  try {
    return await lstat(path);
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT", "ENOTDIR")) return undefined;
    throw thrown;
  }
}

/** SHA-256 of a regular file in lower-case hexadecimal, read piece by piece so that nothing else waits for it. Links are not followed. */
export async function sha256Of(path: PathLike, alive?: () => void): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const hash = createHash("sha256");
    await eachChunk(file, async (chunk) => {
      hash.update(chunk);
      alive?.();
    });
    return hash.digest("hex");
  } finally {
    await file.close();
  }
}

/** Hands a file's content over piece by piece; a piece is only valid until `take` has resolved. */
async function eachChunk(file: FileHandle, take: (chunk: Buffer) => Promise<void>): Promise<void> {
  const buffer = Buffer.allocUnsafe(chunkBytes);
  for (let position = 0; ; ) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return;
    await take(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}
