import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { WakefulError } from "../domain/errors.ts";
import { FileHeldError, type HeldFile, holdFile } from "./held-file.ts";
import { readRegular } from "./regular-file.ts";

/** Who has a data directory, for messages alone. */
interface Holder {
  readonly pid: number;
  readonly startedAt: string;
}

/**
 * Takes the data directory for this process, whatever store it goes with: two owners would stop each other's commands. Held until released,
 * or until the process is gone.
 *
 * @throws {WakefulError} `data_dir_locked`, with the holder's name.
 */
export async function lockDataDirectory(dataDir: string, holder: Holder): Promise<HeldFile> {
  const path = join(dataDir, "lock");
  try {
    const held = holdFile(path);
    writeFileSync(path, `${JSON.stringify(holder)}\n`);
    return held;
  } catch (thrown) {
    if (!(thrown instanceof FileHeldError)) throw thrown;
    const text = (await readRegular(path)) ?? "";
    const named = /^\{"pid":(\d+),"startedAt":"([^"]+)"\}\s*$/.exec(text);
    const who = named === null ? "another process" : `process ${named[1]}, started ${named[2]}`;
    throw new WakefulError(
      "data_dir_locked",
      `The data directory ${dataDir} is in use by ${who}. One daemon has it, whatever store it uses: stop that one first, or name another directory with --data-dir.`,
      { details: { dataDir } },
    );
  }
}
