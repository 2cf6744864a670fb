import { messageOf } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import type { RunsStore } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";

export interface BeatBufferOptions {
  readonly beat: RunsStore["beat"];
  readonly now: () => Instant;
  readonly emit: Emit;
  /** How long beats are gathered before they are written together, in milliseconds. Default 1000. */
  readonly gatherMs?: DurationMs;
}

interface Beat {
  readonly runId: RunId;
  readonly at: Instant;
  readonly progress?: string | undefined;
}

/**
 * Handlers' signs of progress on their way to the store: the newest of each run, written together about once a second, and nothing when
 * idle.
 */
export class BeatBuffer {
  readonly #options: BeatBufferOptions;
  #beats = new Map<RunId, Beat>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #tellLost: (runId: RunId, why: string) => void = () => undefined;

  constructor(options: BeatBufferOptions) {
    this.#options = options;
  }

  /** @param listener - called with each run that the store says is not alive any more. */
  onLost(listener: (runId: RunId, why: string) => void): void {
    this.#tellLost = listener;
  }

  /** @param progress - as JSON. */
  beat(runId: RunId, progress: string | undefined): void {
    this.#beats.set(runId, { runId, at: this.#options.now(), progress: progress ?? this.#beats.get(runId)?.progress });
    this.#plan();
  }

  /** Writes what was gathered. Never rejects: a beat that cannot be written is kept, unless a newer one has come. */
  async flush(): Promise<void> {
    this.#write();
    await this.#writing;
  }

  #plan(): void {
    this.#timer ??= setTimeout(() => this.#write(), this.#options.gatherMs ?? 1000).unref();
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const beats = this.#beats;
    if (beats.size === 0) return;
    this.#beats = new Map();
    this.#writing = this.#options.beat([...beats.values()]).then(
      (lost) => {
        for (const runId of lost) this.#tellLost(runId, "it is not running any more");
      },
      (thrown: unknown) => {
        this.#options.emit("store.degraded", { code: "beat_failed", message: messageOf(thrown) });
        for (const [runId, beat] of beats) if (!this.#beats.has(runId)) this.#beats.set(runId, beat);
        this.#plan();
      },
    );
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#beats.clear();
  }
}
