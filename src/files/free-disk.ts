import { statfs } from "node:fs/promises";

/** Bytes that are free for unprivileged programs on the disk of `path`. Rejects like `statfs`. */
export async function freeDiskBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
