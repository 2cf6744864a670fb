import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { longLogBytes } from "../../liveness/old-readers.ts";
import { CheckpointThread } from "./checkpoint-thread.ts";
import type { SqliteConnection } from "./connection.ts";

export interface LogCutterOptions {
  readonly connection: SqliteConnection;
  /** A longer log is cut back. Default {@link longLogBytes}. */
  readonly keepBytes?: number | undefined;
}

/** Cutting a file frees its pages and blocks, 0.3 ms a mebibyte. */
const sliceBytes = 32 * 2 ** 20;
/** SQLite's own, which the event loop pays for with each commit. */
const pagesPerCheckpoint = 1000;
/** Uses of the connection between two looks at the log's size, each a system call. */
const usesPerLook = 16;
const lookAgainMs = 250;

/** How long the log is, and whether somebody who reads an old state keeps it from being written back. */
export interface LogState {
  readonly bytes: number;
  readonly held: boolean;
}

/**
 * Cuts the write-ahead log back that a reader of an old state made long. SQLite would write it back within one commit, and keep the file.
 * Idle -> (too long) -> a thread writes it back -> cutting -> idle.
 */
export class LogCutter {
  readonly #connection: SqliteConnection;
  readonly #keepBytes: number;
  readonly #stopping = new AbortController();
  #working: Promise<void> | undefined;
  #thread: CheckpointThread | undefined;
  #held = false;
  /** The thread could not work: SQLite does until the log is short again. */
  #failed = false;
  #uses = 0;

  constructor({ connection, keepBytes = longLogBytes }: LogCutterOptions) {
    this.#connection = connection;
    this.#keepBytes = keepBytes;
    this.#setSizeLimit(keepBytes);
    connection.onUse = () => {
      this.#uses += 1;
      if (this.#uses % usesPerLook === 0) this.look();
    };
  }

  get state(): LogState {
    return { bytes: this.#bytes(), held: this.#held };
  }

  /** Begins to cut the log if it is too long: after uses of the connection, and at the opening for what a killed process left. */
  look(): void {
    if (this.#working !== undefined || this.#stopping.signal.aborted) return;
    const long = this.#bytes() > this.#keepBytes;
    if (!long) this.#failed = false;
    if (long && !this.#failed) this.#working = this.#work();
  }

  /** Resolves when no thread has the file open. To be called before the connection is closed. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#thread?.hold();
    await this.#working;
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    try {
      await this.#connection.exclusive(() => this.#connection.db.exec("pragma wal_autocheckpoint = 0"));
      if (this.#stopping.signal.aborted) return;
      this.#thread = new CheckpointThread(this.#connection.name);
      await this.#cutWith(this.#thread);
    } catch {
      // No thread, a full disk, or a connection that is closed: SQLite goes on by itself, or the next opening does.
      this.#failed = true;
    } finally {
      await this.#thread?.stop();
      this.#thread = undefined;
      this.#held = false;
      await this.#connection.exclusive(() => this.#goOnPlainly()).catch(() => undefined);
      this.#working = undefined;
    }
  }

  async #cutWith(thread: CheckpointThread): Promise<void> {
    const { signal } = this.#stopping;
    let written = -1;
    while (!signal.aborted) {
      await thread.checkpoint();
      const { log, checkpointed } = await this.#connection.exclusive(() => this.#pages());
      const newest = log - checkpointed < pagesPerCheckpoint;
      const done = newest && (await this.#connection.exclusive(() => this.#cut()));
      if (done && this.#bytes() <= this.#keepBytes) return;
      this.#held = !done && (newest || checkpointed === written);
      // Progress is followed up at once: the pages written meanwhile are few by then.
      if (newest || checkpointed === written) await sleep(lookAgainMs, undefined, { ref: false, signal }).catch(() => undefined);
      written = checkpointed;
    }
  }

  /** How many pages the log has, and how many of them stand in the file. */
  #pages(): { readonly log: number; readonly checkpointed: number } {
    return this.#connection.prepare("pragma wal_checkpoint(noop)").get() as { log: number; checkpointed: number };
  }

  /**
   * Begins the log anew and takes a slice off its file. False: somebody reads from the log, or writes. A transaction of the connection's
   * must not be open.
   */
  #cut(): boolean {
    const connection = this.#connection;
    const bytes = this.#bytes();
    // Nobody is waited for: this is the event loop's thread.
    return connection.withoutWaiting(() => {
      if (bytes <= sliceBytes) return !isBusy(connection.prepare("pragma wal_checkpoint(truncate)").get());
      if (isBusy(connection.prepare("pragma wal_checkpoint(restart)").get())) return false;
      this.#setSizeLimit(Math.max(this.#keepBytes, bytes - sliceBytes));
      // The first commit of a new log cuts its file to the limit.
      const version = connection.prepare("pragma user_version").get() as { readonly user_version: number };
      connection.db.exec(`pragma user_version = ${version.user_version}`);
      return true;
    });
  }

  #goOnPlainly(): void {
    this.#connection.db.exec(`pragma wal_autocheckpoint = ${pagesPerCheckpoint}`);
    this.#setSizeLimit(this.#keepBytes);
  }

  /** To this length SQLite cuts the file when it begins the log anew. */
  #setSizeLimit(bytes: number): void {
    this.#connection.db.exec(`pragma journal_size_limit = ${bytes}`);
  }

  #bytes(): number {
    return logBytesOf(this.#connection.name);
  }
}

/** By its path: a descriptor that is closed gives up the locks of the whole process on a file. */
export const logBytesOf = (store: string): number => statSync(`${store}-wal`, { throwIfNoEntry: false })?.size ?? 0;

/** A checkpoint that did not reach its end. */
const isBusy = (row: unknown): boolean => (row as { readonly busy: number }).busy !== 0;
