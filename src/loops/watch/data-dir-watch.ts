import { WakefulError } from "../../domain/errors.ts";
import type { HeldFile } from "../../files/held-file.ts";

export interface DataDirWatchOptions {
  readonly dataDir: string;
  readonly held: Pick<HeldFile, "lost">;
  /** Called when the directory is lost, and with undefined when it is back. */
  readonly refuse: (error: Error | undefined) => void;
}

/**
 * Looks each second whether the data directory is still the one that was locked at the start. In another one no run folder is found: what
 * works would be judged lost, and what has ended well would run again.
 */
export class DataDirWatch {
  readonly #options: DataDirWatchOptions;
  #found: string | undefined;

  constructor(options: DataDirWatchOptions) {
    this.#options = options;
  }

  look(): void {
    const { dataDir, held, refuse } = this.#options;
    const found = held.lost();
    if (found === this.#found) return;
    this.#found = found;
    refuse(
      found === undefined
        ? undefined
        : new WakefulError(
            "data_dir_lost",
            `${found}: the data directory ${dataDir} is not the one that this daemon has. Nothing is claimed, judged or stored meanwhile. Put it back where it was; else stop the daemon and start it again.`,
            { details: { dataDir } },
          ),
    );
  }
}
