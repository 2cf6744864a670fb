import { constants } from "node:fs";
import { open } from "node:fs/promises";

/** Most bytes of a progress report that are kept. */
const maxBytes = 65_536;

/** Reads what a command wrote into `WAKEFUL_PROGRESS_FILE`, as one line of JSON; undefined: there is nothing whole. */
export async function readProgress(path: string): Promise<string | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size === 0 || stat.size > maxBytes) return undefined;
      return JSON.stringify(JSON.parse(await file.readFile("utf8")));
    } finally {
      await file.close();
    }
  } catch {
    // Missing, half written or not JSON: progress is only for people, and the next look may find it whole.
    return undefined;
  }
}
