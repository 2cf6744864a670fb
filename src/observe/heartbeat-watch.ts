import { lstat } from "node:fs/promises";
import { addMs, type DurationMs, type Instant } from "../domain/time.ts";

/** One file whose changes are signs of progress, and since when it may count. */
export interface WatchedFile {
  readonly path: string;
  /** `mtime`: a touch counts (heartbeat files). `size`: growth counts (logs). */
  readonly by: "mtime" | "size";
}

/** The clocks by which a sight is told, and since when a file may be of the run. */
export interface LookedAt {
  /** The store's. Asked once a file has been seen, so that no beat is told from before it. */
  readonly now: () => Instant;
  /** The host's, by which file times are. */
  readonly wallNow: () => number;
  readonly startedAt: Instant;
}

interface Sight {
  readonly mtimeMs: number;
  readonly size: number;
}

/**
 * Notices progress of one run in files, as *changes* between two looks, so that a file time from the future or a stepped clock proves nothing.
 * Only at first sight is the age of the file believed, clamped to the age of the run: a supervisor that adopts a run hears of beats it missed.
 */
export class HeartbeatWatch {
  readonly #files: readonly WatchedFile[];
  readonly #seen = new Map<string, Sight>();

  constructor(files: readonly WatchedFile[]) {
    this.#files = files;
  }

  /**
   * The store instant of the newest sign of life since the last look, or undefined.
   * A file that is missing, not regular (a folder, a link, a FIFO) or unreadable says nothing.
   */
  async look(at: LookedAt): Promise<Instant | undefined> {
    let newest: Instant | undefined;
    for (const file of this.#files) {
      const sight = await see(file.path);
      if (sight === undefined) continue;
      const before = this.#seen.get(file.path);
      this.#seen.set(file.path, sight);
      const beatAt = before === undefined ? firstSight(sight, at) : changed(file.by, before, sight) ? at.now() : undefined;
      if (beatAt !== undefined && (newest === undefined || beatAt > newest)) newest = beatAt;
    }
    return newest;
  }
}

async function see(path: string): Promise<Sight | undefined> {
  try {
    const stat = await lstat(path);
    return stat.isFile() ? { mtimeMs: stat.mtimeMs, size: stat.size } : undefined;
  } catch {
    // Missing or unreadable: silence, which has a limit of its own.
    return undefined;
  }
}

function firstSight(sight: Sight, at: LookedAt): Instant | undefined {
  const now = at.now();
  const runAgeMs: DurationMs = Math.max(0, now - at.startedAt);
  // File times have fractions of a millisecond, instants have none.
  const fileAgeMs = Math.max(0, Math.ceil(at.wallNow() - sight.mtimeMs));
  // Older than the run: an earlier run's file.
  return fileAgeMs > runAgeMs ? undefined : addMs(now, -fileAgeMs);
}

function changed(by: WatchedFile["by"], before: Sight, now: Sight): boolean {
  return by === "mtime" ? before.mtimeMs !== now.mtimeMs : now.size > before.size;
}
