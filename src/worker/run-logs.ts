import { mkdir, open } from "node:fs/promises";
import type { RunId } from "../domain/ids.ts";
import type { DurationMs } from "../domain/time.ts";
import { runFiles } from "../processes/run-files.ts";
import { type DataPaths, runDirOf } from "./run-paths.ts";

export interface RunLogsOptions {
  readonly paths: DataPaths;
  /** How long a run's log may become. Default 10 MiB; what comes after is dropped, with a note in its place. */
  readonly maxBytes?: number;
  /** How long lines are gathered before they are written. Default 200. */
  readonly gatherMs?: DurationMs;
}

/** Characters gathered over all runs; more, from a disk that does not keep up, are dropped. */
const gatheredMax = 4 * 2 ** 20;

/** What handlers say, appended to `runs/<id>/stdout.log`. Logging never throws and never waits: work must not fail for its log. */
export class RunLogs {
  readonly #options: RunLogsOptions;
  #texts = new Map<RunId, string>();
  #gathered = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: RunLogsOptions) {
    this.#options = options;
  }

  log(runId: RunId, line: unknown): void {
    const text = typeof line === "string" ? line : `(a log line that is a ${typeof line})`;
    if (this.#gathered + text.length > gatheredMax) return;
    this.#gathered += text.length + 1;
    this.#texts.set(runId, `${this.#texts.get(runId) ?? ""}${text}\n`);
    this.#timer ??= setTimeout(() => {
      this.#writing = this.#writing.then(() => this.#write());
    }, this.#options.gatherMs ?? 200).unref();
  }

  /** Resolves when everything said so far is written, or could not be. */
  async flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    await this.#writing;
  }

  async #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const texts = this.#texts;
    this.#texts = new Map();
    this.#gathered = 0;
    for (const [runId, text] of texts) {
      await this.#append(runId, text).catch(() => {
        // A full disk or a folder that was removed: the log is the first thing to do without, and the store says so itself.
      });
    }
  }

  async #append(runId: RunId, text: string): Promise<void> {
    const { paths, maxBytes = 10 * 2 ** 20 } = this.#options;
    const runDir = runDirOf(paths, runId);
    await mkdir(runDir, { recursive: true, mode: 0o700 });
    const file = await open(runFiles(runDir).stdoutLog, "a", 0o600);
    try {
      const { size } = await file.stat();
      if (size >= maxBytes) return;
      const bytes = Buffer.from(text);
      const room = maxBytes - size;
      await file.appendFile(
        bytes.length <= room
          ? bytes
          : Buffer.concat([bytes.subarray(0, room), Buffer.from(`\n(more than ${maxBytes} bytes: the rest is dropped)\n`)]),
      );
    } finally {
      await file.close();
    }
  }
}
