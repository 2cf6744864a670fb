import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { limitLog } from "../files/log-limit.ts";

/** Where the whole output of gate commands goes: the log of the run that the gate judges. */
export interface GateLog {
  readonly path: string;
  /** The stage's `log.maxBytes`. One reading writes at most half of it, so that a cut to the newest half keeps all of it. */
  readonly maxBytes: number;
}

/** Writes the output of one reading to the log. A log that cannot be written changes no answer. */
export class GateLogWriter {
  readonly #log: GateLog;
  #file: FileHandle | undefined;
  #writing: Promise<void> = Promise.resolve();
  #room: number;
  #droppedBytes = 0;

  private constructor(log: GateLog, file: FileHandle | undefined) {
    this.#log = log;
    this.#file = file;
    this.#room = Math.floor(log.maxBytes / 2);
  }

  static async open(log: GateLog, command: string): Promise<GateLogWriter> {
    const writer = new GateLogWriter(log, await openLog(log.path));
    writer.#append(Buffer.from(`[wakeful] the gate ${command} says:\n`));
    return writer;
  }

  /** Resolves once written, which slows down a command that is faster than the disk; at once for what is past the limit. */
  async write(chunk: Buffer): Promise<void> {
    const taken = chunk.subarray(0, Math.max(0, this.#room));
    this.#room -= taken.length;
    this.#droppedBytes += chunk.length - taken.length;
    if (taken.length === 0) return;
    this.#append(taken);
    await this.#writing;
  }

  async close(): Promise<void> {
    const { path, maxBytes } = this.#log;
    if (this.#droppedBytes > 0)
      this.#append(
        Buffer.from(`\n[wakeful] ${this.#droppedBytes} bytes of the gate's output were dropped here (log.maxBytes is ${maxBytes})\n`),
      );
    await this.#writing;
    const file = this.#file;
    if (file === undefined) return;
    try {
      const { size } = await file.stat();
      await file.close();
      if (size > maxBytes) await limitLog({ path, maxBytes });
    } catch {
      // The disk is full or fails: the gate's answer stands.
    }
  }

  #append(bytes: Buffer): void {
    this.#writing = this.#writing.then(async () => {
      await this.#file?.appendFile(bytes).catch(async () => {
        // The disk is full: what is written stays, the rest is dropped.
        const file = this.#file;
        this.#file = undefined;
        await file?.close().catch(() => undefined);
      });
    });
  }
}

/** Follows no link and opens only a regular file: the folder belongs to the command, which may have put anything there. */
async function openLog(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle;
  try {
    file = await open(
      path,
      constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      0o600,
    );
  } catch {
    // No folder of the run, no permission, a link, a full disk.
    return undefined;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}
