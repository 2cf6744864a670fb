import { unlink, writeFile } from "node:fs/promises";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import { HeartbeatWatch } from "../../observe/heartbeat-watch.ts";

/** A run at work that may show progress in files. */
export interface FileBeatingRun {
  readonly runId: RunId;
  /** By the store's clock; a file that is older is an earlier run's. */
  readonly startedAt: Instant;
  readonly paths: readonly string[];
}

export interface HeartbeatFilesOptions {
  /** The store's clock. */
  readonly now: () => Instant;
  /** This host's wall clock, by which file times are. */
  readonly wallNow: () => number;
  /** Time between two looks. */
  readonly lookMs: DurationMs;
  /** Writes beats; resolves to the runs that are not alive any more. */
  readonly beat: (beats: readonly { readonly runId: RunId; readonly at: Instant }[]) => Promise<readonly RunId[]>;
  readonly onLost: (runIds: readonly RunId[]) => void;
}

/**
 * Looks at the heartbeat files of the runs at work and forwards what moved: one look for all of them, and none, nor a timer, while no run
 * is held. The changes of a file count, and at first sight its age, as for commands.
 */
export class HeartbeatFiles {
  readonly #options: HeartbeatFilesOptions;
  readonly #held = new Map<RunId, { readonly startedAt: Instant; readonly watch: HeartbeatWatch }>();
  /** Beats that the store has not taken: a file tells of each touch once. */
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
      // A look that fails is one of many; what it saw and could not tell is told by the next one.
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
    // What has ended meanwhile was dropped, and is nobody's loss.
    const lost = [...gone].filter((runId) => this.#held.has(runId));
    for (const runId of lost) this.drop(runId);
    if (lost.length > 0) onLost(lost);
  }
}

/**
 * Begins a run's heartbeat file at the path that programs know by convention: the previous run's is removed, so that it is never taken for
 * this one's, and the first line is written, "<time> start". What is neither a file nor can be one counts for nothing.
 */
export async function beginHeartbeatFile(path: string, wallNow: number): Promise<void> {
  try {
    await unlink(path).catch(() => undefined);
    // Never through a link, nor into a FIFO that somebody left there.
    await writeFile(path, `${new Date(wallNow).toISOString()} start\n`, { flag: "wx", mode: 0o600 });
  } catch {
    // A folder in its place, or a full disk: the run's first beat is in the store already, and this file stays silent.
  }
}
