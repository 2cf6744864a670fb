import { constants } from "node:fs";
import { lstat, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../domain/errors.ts";
import { freeDiskBytes, freeInodes } from "../../files/free-disk.ts";
import { openRegular } from "../../files/regular-file.ts";
import type { Emit } from "../../telemetry/events.ts";

export interface DiskWatchOptions {
  readonly dataDir: string;
  readonly minFreeBytes: number;
  /** Files that can still be made; 0: any number will do. */
  readonly minFreeInodes: number;
  readonly ballastBytes: number;
  readonly emit: Emit;
  /** Free bytes of the data directory's file system; injected in tests. */
  readonly freeBytes?: ((path: string) => Promise<number>) | undefined;
  readonly inodes?: ((path: string) => Promise<number | undefined>) | undefined;
}

const ballastName = "ballast";
/** Every this many looks the ballast is checked, and at once after it was freed. */
const ballastEvery = 60;

/** Keeps space for settling runs: below a limit nothing new is claimed, and on a full disk a file of ballast is freed. */
export class DiskWatch {
  readonly #options: DiskWatchOptions;
  #low = false;
  #trouble: string | undefined;
  /** Looks left until the next check of the ballast, which changes when it is freed here or removed by a person. */
  #ballastIn = 0;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  get low(): boolean {
    return this.#low;
  }

  /** What there is too little of, for people. Undefined: nothing. */
  get trouble(): string | undefined {
    return this.#low ? (this.#trouble ?? "the disk is full") : undefined;
  }

  async look(): Promise<void> {
    const { dataDir, minFreeBytes, minFreeInodes, emit, freeBytes = freeDiskBytes, inodes = freeInodes } = this.#options;
    try {
      const free = await freeBytes(dataDir);
      const files = (await inodes(dataDir)) ?? null;
      this.#trouble =
        free < minFreeBytes
          ? "free disk is below disk.minFreeBytes"
          : files !== null && files < minFreeInodes
            ? `${files} more files can be made on the disk, less than disk.minFreeInodes`
            : undefined;
      const low = this.#trouble !== undefined;
      if (low && !this.#low)
        emit("disk.low", { path: dataDir, freeBytes: free, needBytes: minFreeBytes, freeInodes: files, needInodes: minFreeInodes });
      if (!low && this.#low) emit("disk.recovered", { path: dataDir, freeBytes: free, freeInodes: files });
      this.#low = low;
      if (!low) await this.#layBallast(free);
    } catch (thrown) {
      emit("store.degraded", { code: "statfs_failed", message: messageOf(thrown) });
    }
  }

  /** Frees the ballast on a full disk, so that ended runs can still be recorded. Returns whether there was any. */
  async freeBallast(): Promise<boolean> {
    const path = join(this.#options.dataDir, ballastName);
    this.#low = true;
    this.#ballastIn = 0;
    const had = await lstat(path).then(
      (found) => found.size > 0,
      () => false,
    );
    await rm(path, { force: true });
    return had;
  }

  /** Written in full, not sparse: only allocated blocks can be given back. */
  async #layBallast(free: number): Promise<void> {
    const { dataDir, ballastBytes, minFreeBytes } = this.#options;
    if (ballastBytes === 0 || free < minFreeBytes + 2 * ballastBytes) return;
    this.#ballastIn -= 1;
    if (this.#ballastIn > 0) return;
    const path = join(dataDir, ballastName);
    const there = await lstat(path).catch(() => undefined);
    if (there?.size === ballastBytes) {
      this.#ballastIn = ballastEvery;
      return;
    }
    // A command may have put a FIFO or a link there: neither may block this look or overwrite another file.
    const file = await openRegular(path, constants.O_WRONLY | constants.O_CREAT);
    try {
      await file.truncate();
      // Some file systems store zeros without blocks.
      const block = Buffer.alloc(Math.min(ballastBytes, 1_048_576), "wakeful ");
      for (let left = ballastBytes; left > 0; left -= block.length) await file.write(block, 0, Math.min(left, block.length));
    } finally {
      await file.close();
    }
  }
}
