// @ts-check
import { randomUUID } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";

/**
 * Writes a file so that every reader sees either the old content or the whole new one, also when this process
 * is killed half-way: the bytes go to a neighbour `<path>.<random>.tmp`, which is then renamed over the path.
 *
 * @param {string} path
 * @param {string | Uint8Array} content
 * @param {{ sync?: boolean }} [options] `sync` (default true) waits until the bytes are on the disk before the rename, so
 *   that a power cut cannot leave an empty file under the final name. Turn it off for what may be lost, such as progress.
 */
export async function writeAtomically(path, content, { sync = true } = {}) {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(content);
      if (sync) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
