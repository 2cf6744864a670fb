import { type BigIntStats, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { HeldFile } from "../../files/held-file.ts";
import { StoreLostError } from "../port/errors.ts";
import type { SqliteConnection } from "./connection.ts";

export interface FileWatchOptions {
  readonly connection: SqliteConnection;
  readonly held: HeldFile;
}

const lookMs = 1_000;

/**
 * Looks each second whether the files at the store's path are those that are open: what is written to a deleted one is lost. While they are
 * not, the store refuses every use.
 */
export class FileWatch {
  readonly #connection: SqliteConnection;
  readonly #held: HeldFile;
  readonly #log: BigIntStats | undefined;
  readonly #stopping = new AbortController();

  /** To be made when the store has been used once: its log is there by then. */
  constructor({ connection, held }: FileWatchOptions) {
    this.#connection = connection;
    this.#held = held;
    this.#log = this.#logNow();
    void this.#lookOften();
  }

  look(): void {
    const lost = this.#held.lost() ?? this.#lostLog();
    this.#connection.refuse(lost === undefined ? undefined : new StoreLostError({ store: this.#connection.name, found: lost }));
  }

  stop(): void {
    this.#stopping.abort();
    // The last look decides whether closing may touch the files.
    this.look();
  }

  async #lookOften(): Promise<void> {
    const { signal } = this.#stopping;
    for (;;) {
      await sleep(lookMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      this.look();
    }
  }

  #lostLog(): string | undefined {
    if (this.#log === undefined) return undefined;
    const found = this.#logNow();
    if (found === undefined) return `${this.#connection.name}-wal was deleted`;
    return found.ino === this.#log.ino && found.dev === this.#log.dev
      ? undefined
      : `another file stands in the place of ${this.#connection.name}-wal`;
  }

  #logNow(): BigIntStats | undefined {
    return statSync(`${this.#connection.name}-wal`, { bigint: true, throwIfNoEntry: false });
  }
}
