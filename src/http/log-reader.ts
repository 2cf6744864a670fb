import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { ControlStripper } from "../protocol/terminal-text.ts";

export interface LogRequest {
  readonly path: string;
  /** Only the end of what there is now. */
  readonly tailBytes?: number;
  readonly raw: boolean;
  /** Whether more may come. Asked before each look at the file, so that what was written before a `false` is still read. */
  readonly goesOn: () => Promise<boolean>;
  /** Waits until it is worth looking again. */
  readonly pause: () => Promise<void>;
}

const pieceBytes = 64 * 1024;

/** The text of a log, piece by piece; with terminal controls removed unless `raw`. Ends at the end of the file once nothing more can come. */
export async function* readLog({ path, tailBytes, raw, goesOn, pause }: LogRequest): AsyncGenerator<string> {
  const decoder = new StringDecoder("utf8");
  const stripper = new ControlStripper();
  const clean = (text: string): string => (raw ? text : stripper.push(text));
  let offset: number | undefined;
  for (;;) {
    const mayGrow = await goesOn();
    const file = await openRegular(path);
    if (file !== undefined) {
      try {
        const { size } = await file.stat();
        offset ??= tailBytes === undefined ? 0 : Math.max(0, size - tailBytes);
        if (size < offset) {
          // The supervisor cuts a log that grows over its limit.
          offset = 0;
          yield "\n[the log was cut; it goes on from its new beginning]\n";
        }
        for await (const piece of piecesFrom(file, offset)) {
          offset += piece.length;
          const text = clean(decoder.write(piece));
          if (text !== "") yield text;
        }
      } finally {
        await file.close();
      }
    }
    if (!mayGrow) {
      const rest = clean(decoder.end());
      if (rest !== "") yield rest;
      return;
    }
    await pause();
  }
}

async function* piecesFrom(file: FileHandle, start: number): AsyncGenerator<Buffer> {
  for (let position = start; ; ) {
    const buffer = Buffer.alloc(pieceBytes);
    const { bytesRead } = await file.read(buffer, 0, pieceBytes, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Not through a link and nothing but a regular file: the folder belongs to the command, which may put there what it likes. */
async function openRegular(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    // Not written yet, or put there by the command as a link or socket: there is nothing of ours to show.
    if (thrown instanceof Error && "code" in thrown && ["ENOENT", "ELOOP", "ENXIO", "ENOTDIR"].includes(String(thrown.code)))
      return undefined;
    throw thrown;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}
