import { constants } from "node:fs";
import { mkdir } from "node:fs/promises";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import { type DataPaths, runDirOf } from "../../files/data-paths.ts";
import { limitLog } from "../../files/log-limit.ts";
import { openRegular } from "../../files/regular-file.ts";
import { runFiles } from "../../processes/run-folder/run-files.ts";

export interface RunLogsOptions {
  readonly paths: DataPaths;
  /** How long lines are gathered before they are written. Default 200. */
  readonly gatherMs?: DurationMs;
  /** Most characters gathered over all runs. More, from a disk that is too slow, are dropped with a note. Default 4 Mi. */
  readonly gatheredMax?: number;
}

/** A run's log, with the size at which its stage or task has it cut to its newest half (`log.maxBytes`). */
export interface LimitedRunLog {
  readonly runId: RunId;
  readonly maxBytes: number;
}

interface Gathered extends LimitedRunLog {
  text: string;
  droppedLines: number;
}

/** Handlers' lines, appended to `runs/<id>/stdout.log`. Logging never throws and never waits: work must not fail for its log. */
export class RunLogs {
  readonly #options: RunLogsOptions;
  readonly #gatheredMax: number;
  #logs = new Map<RunId, Gathered>();
  #gathered = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: RunLogsOptions) {
    this.#options = options;
    this.#gatheredMax = options.gatheredMax ?? 4 * 2 ** 20;
  }

  log({ runId, maxBytes }: LimitedRunLog, line: unknown): void {
    const text = typeof line === "string" ? line : `(a log line that is a ${typeof line})`;
    let log = this.#logs.get(runId);
    if (log === undefined) {
      log = { runId, maxBytes, text: "", droppedLines: 0 };
      this.#logs.set(runId, log);
    }
    if (this.#gathered + text.length > this.#gatheredMax) {
      log.droppedLines += 1;
    } else {
      this.#gathered += text.length + 1;
      log.text += `${noteOfDropped(log)}${text}\n`;
      log.droppedLines = 0;
    }
    this.#timer ??= setTimeout(() => {
      this.#writing = this.#writing.then(() => this.#write());
    }, this.#options.gatherMs ?? 200).unref();
  }

  /** Resolves when everything logged so far is written, or could not be. */
  async flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    await this.#writing;
  }

  async #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const logs = this.#logs;
    this.#logs = new Map();
    this.#gathered = 0;
    for (const log of logs.values()) {
      await this.#append(log).catch(() => {
        // A full disk or a removed folder: the log is dropped, and the store reports a full disk itself.
      });
    }
  }

  async #append(log: Gathered): Promise<void> {
    const { runId, maxBytes } = log;
    const runDir = runDirOf(this.#options.paths, runId);
    await mkdir(runDir, { recursive: true, mode: 0o700 });
    const path = runFiles(runDir).stdoutLog;
    const file = await openRegular(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT);
    let size: number;
    try {
      await file.appendFile(`${log.text}${noteOfDropped(log)}`);
      ({ size } = await file.stat());
    } finally {
      await file.close();
    }
    if (size > maxBytes) await limitLog({ path, maxBytes });
  }
}

function noteOfDropped({ droppedLines }: Gathered): string {
  return droppedLines === 0 ? "" : `[wakeful] ${droppedLines} lines were dropped here: they came faster than they could be written\n`;
}
