import { unlink, writeFile } from "node:fs/promises";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import { HeartbeatWatch } from "../../observe/heartbeat-watch.ts";

/** A run at work that may show progress in files. */
export interface FileBeatingRun {
  readonly runId: RunId;
  /** By the store's clock. An older file is an earlier run's. */
  readonly startedAt: Instant;
  readonly paths: readonly string[];
}

export interface HeartbeatFilesOptions {
  /** The store's clock. */
  readonly now: () => Instant;
  /** This host's wall clock, which stamps files. */
  readonly wallNow: () => number;
  /** Time between two looks. */
  readonly lookMs: DurationMs;
  /** Writes beats; resolves to the runs that are not alive any more. */
  readonly beat: (beats: readonly { readonly runId: RunId; readonly at: Instant }[]) => Promise<readonly RunId[]>;
  readonly onLost: (runIds: readonly RunId[]) => void;
}

/**
 * Forwards changes of the heartbeat files of the runs at work, as {@link HeartbeatWatch} finds them. One look serves all, and without a run
 * there is no timer.
 */
export class HeartbeatFiles {
  readonly #options: HeartbeatFilesOptions;
  readonly #held = new Map<RunId, { readonly startedAt: Instant; readonly watch: HeartbeatWatch }>();
  /** Beats that the store has not taken: a file shows each touch once. */
  readonly #untold = new Map<RunId, Instant>();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;

  constructor(options: HeartbeatFilesOptions) {
    this.#options = options;
  }

  hold({ runId, startedAt, paths }: FileBeatingRun): void {
    this.#held.set(runId, { startedAt, watch: new HeartbeatWatch(paths.map((path) => ({ path, by: "mtime" }))) });
    this.#plan();
  }

  drop(runId: RunId): void {
    this.#held.delete(runId);
    this.#untold.delete(runId);
    if (this.#held.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #plan(): void {
    if (this.#looking || this.#held.size === 0) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#looking = true;
      // A failed look does not matter: the next one sends what this one saw.
      const over = (): void => {
        this.#looking = false;
        this.#plan();
      };
      this.#look().then(over, over);
    }, this.#options.lookMs);
  }

  async #look(): Promise<void> {
    const { now, wallNow, beat, onLost } = this.#options;
    for (const [runId, { startedAt, watch }] of this.#held) {
      const at = await watch.look({ now, wallNow, startedAt });
      if (at !== undefined && this.#held.has(runId)) this.#untold.set(runId, at);
    }
    const beats = [...this.#untold].map(([runId, at]) => ({ runId, at }));
    if (beats.length === 0) return;
    const gone = new Set(await beat(beats));
    for (const { runId, at } of beats) if (this.#untold.get(runId) === at) this.#untold.delete(runId);
    // A run that ended meanwhile was dropped: it is not lost.
    const lost = [...gone].filter((runId) => this.#held.has(runId));
    for (const runId of lost) this.drop(runId);
    if (lost.length > 0) onLost(lost);
  }
}

/**
 * Begins a run's heartbeat file at the path that programs know by convention, with the line "<time> start". The previous run's is removed,
 * so that it is never taken for this one's. What cannot be a file is ignored.
 */
export async function beginHeartbeatFile(path: string, wallNow: number): Promise<void> {
  try {
    await unlink(path).catch(() => undefined);
    // Never through a link, nor into a FIFO that something left there.
    await writeFile(path, `${new Date(wallNow).toISOString()} start\n`, { flag: "wx", mode: 0o600 });
  } catch {
    // A folder in its place, or a full disk. The store has the run's first beat already; this file shows none.
  }
}
