import { lstat } from "node:fs/promises";
import { addMs, type DurationMs, type Instant } from "../domain/time.ts";

/** A file whose changes are signs of progress. */
export interface WatchedFile {
  readonly path: string;
  /** `mtime`: a touch counts (heartbeat files). `size`: growth counts (logs). */
  readonly by: "mtime" | "size";
}

/** The clocks of a look, and the run's start: an older file is not the run's. */
export interface LookedAt {
  /** The store's clock. Read once a file has been seen, so that no beat is dated before it. */
  readonly now: () => Instant;
  /** The host's clock, which stamps files. */
  readonly wallNow: () => number;
  readonly startedAt: Instant;
}

interface Sight {
  readonly mtimeMs: number;
  readonly size: number;
}

/**
 * Notices a run's progress as *changes* of files between two looks: a future file time or a stepped clock proves nothing. Only at first
 * sight its age counts, clamped to the run's, so that adopters learn of missed beats.
 */
export class HeartbeatWatch {
  readonly #files: readonly WatchedFile[];
  readonly #seen = new Map<string, Sight>();

  constructor(files: readonly WatchedFile[]) {
    this.#files = files;
  }

  /**
   * The store instant of the newest sign of life since the last look, or undefined. A file that is missing, unreadable or not regular (a
   * folder, a link, a FIFO) is ignored.
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
    // A missing or unreadable file is silence, which has its own limit.
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
