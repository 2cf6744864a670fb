import { statfs } from "node:fs/promises";

/** Files that can still be made there. Undefined: the file system sets no number, as btrfs. Rejects like `statfs`. */
export async function freeInodes(path: string): Promise<number | undefined> {
  const { files, ffree } = await statfs(path);
  return files === 0 ? undefined : ffree;
}

/** Bytes that are free for unprivileged programs on the disk of `path`. Rejects like `statfs`. */
export async function freeDiskBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
