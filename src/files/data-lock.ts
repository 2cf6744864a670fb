import { type BigIntStats, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, WakefulError } from "../domain/errors.ts";
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
  const hold = (): HeldFile => {
    const held = holdFile(path);
    writeFileSync(path, `${JSON.stringify(holder)}\n`);
    return held;
  };
  try {
    return new DataLock(dataDir, hold);
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

/** A lock that is made anew where a cleaner has deleted it: the directory is the same, and nobody else has come. */
class DataLock implements HeldFile {
  readonly #dataDir: string;
  readonly #directory: BigIntStats;
  readonly #hold: () => HeldFile;
  #held: HeldFile;

  constructor(dataDir: string, hold: () => HeldFile) {
    this.#dataDir = dataDir;
    this.#directory = statSync(dataDir, { bigint: true });
    this.#hold = hold;
    this.#held = hold();
  }

  get locked(): boolean {
    return this.#held.locked;
  }

  lost(): string | undefined {
    const found = statSync(this.#dataDir, { bigint: true, throwIfNoEntry: false });
    if (found === undefined) return `${this.#dataDir} is gone`;
    if (found.ino !== this.#directory.ino || found.dev !== this.#directory.dev)
      return `another folder stands in the place of ${this.#dataDir}`;
    const lost = this.#held.lost();
    if (lost === undefined) return undefined;
    try {
      const again = this.#hold();
      this.#held.release();
      this.#held = again;
      return undefined;
    } catch (thrown) {
      return thrown instanceof FileHeldError ? `${lost}, and another process has taken the directory` : `${lost}: ${messageOf(thrown)}`;
    }
  }

  release(): void {
    this.#held.release();
  }
}
