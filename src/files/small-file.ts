import { constants } from "node:fs";
import { lstat, open } from "node:fs/promises";
import { hasCode } from "../domain/errors.ts";

/** What a small file of a compatible folder holds. Anything may lie there: it is read only when regular and short. */
export type SmallFile =
  | { readonly kind: "absent" }
  | { readonly kind: "text"; readonly text: string }
  /** A link, a folder, a FIFO, or longer than is believable. */
  | { readonly kind: "odd"; readonly why: string };

export async function readSmallFile(path: string, bytesMax: number): Promise<SmallFile> {
  try {
    const found = await lstat(path);
    if (!found.isFile()) return { kind: "odd", why: "it is not a regular file" };
    if (found.size > bytesMax) return { kind: "odd", why: `it has ${found.size} bytes, at most ${bytesMax} are read` };
    // A link or a FIFO put there since the look must neither be followed nor hold us.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(bytesMax), 0, bytesMax, 0);
      return { kind: "text", text: buffer.toString("utf8", 0, bytesRead) };
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT", "ENOTDIR")) return { kind: "absent" };
    if (hasCode(thrown, "ELOOP")) return { kind: "odd", why: "it is a link" };
    throw thrown;
  }
}

/** Makes a file's content, or the renames in a folder, survive a power cut. What cannot be synced (some network disks) is left to its own promises. */
export async function syncToDisk(path: string): Promise<void> {
  const opened = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    await opened.sync();
  } catch (thrown) {
    if (!hasCode(thrown, "EINVAL", "ENOTSUP", "EPERM", "EBADF", "EISDIR")) throw thrown;
  } finally {
    await opened.close();
  }
}
