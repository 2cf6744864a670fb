import type { Writable } from "node:stream";

/** How much may wait for its reader. What comes beyond it is not kept. */
const waitingBytesMax = 1024 * 1024;
/** How long after a target broke another one is opened. */
const reopenAfterMs = 1_000;

/** What an outlet writes to. */
export interface OutletTarget {
  /** Its writes never block. */
  readonly stream: Writable;
  /** Resolves when the reader has all that was written; it may never. Nothing is written after it. */
  finish(): Promise<void>;
}

export interface OutletOptions {
  /** Called at the first text, and again after a target broke. */
  readonly open: () => OutletTarget;
  /** Milliseconds of a clock that is never set. */
  readonly mono: () => number;
}

/**
 * An output whose reader may stand still or be gone: a write never waits and never fails. Texts that find more than 1 MiB waiting, or no
 * target, are dropped whole and counted.
 */
export class Outlet {
  readonly #options: OutletOptions;
  #target: OutletTarget | undefined;
  #brokeAt: number | undefined;
  #dropped = 0;
  #tell: ((texts: number) => void) | undefined;
  #ended = false;

  constructor(options: OutletOptions) {
    this.#options = options;
  }

  /** Calls `tell` with the number of dropped texts as soon as others are written again. The newest listener counts. */
  onDropped(tell: (texts: number) => void): void {
    this.#tell = tell;
  }

  write(text: string): void {
    const stream = this.#opened()?.stream;
    if (stream === undefined || stream.writableLength > waitingBytesMax) {
      this.#dropped += 1;
      return;
    }
    if (stream.write(text)) this.#tellDropped();
  }

  /** Takes no more texts. Resolves when the reader has what was written, or after `withinMs`; never rejects. */
  async end(withinMs: number): Promise<void> {
    this.#ended = true;
    const target = this.#target;
    if (target === undefined) return;
    let late: NodeJS.Timeout | undefined;
    const gone = new Promise<void>((resolve) => {
      late = setTimeout(resolve, withinMs);
      target.stream.once("error", resolve).once("close", resolve);
    });
    // A target that cannot finish has lost its reader.
    await Promise.race([target.finish().catch(() => undefined), gone]);
    clearTimeout(late);
  }

  #opened(): OutletTarget | undefined {
    if (this.#target !== undefined || this.#ended) return this.#ended ? undefined : this.#target;
    const now = this.#options.mono();
    if (this.#brokeAt !== undefined && now - this.#brokeAt < reopenAfterMs) return undefined;
    const target = this.#options.open();
    const broke = (): void => {
      if (this.#target === target) this.#target = undefined;
      this.#brokeAt = this.#options.mono();
    };
    target.stream.on("error", broke).on("close", broke);
    target.stream.on("drain", () => this.#tellDropped());
    this.#brokeAt = now;
    if (!target.stream.destroyed) this.#target = target;
    return this.#target;
  }

  #tellDropped(): void {
    if (this.#dropped === 0 || this.#ended) return;
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.#tell?.(dropped);
  }
}
