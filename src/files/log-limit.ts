import { constants, fstatSync, ftruncateSync, readSync, writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { hasCode } from "../domain/errors.ts";
import { openRegular } from "./regular-file.ts";

export interface LimitLogOptions {
  /** A log whose writers append (O_APPEND). Absent is fine: nothing to do. */
  readonly path: string;
  /** The log is shortened when it is longer than this, in bytes; at least 4096. */
  readonly maxBytes: number;
  /** How much of the newest output stays, in bytes. Default and greatest value: half of `maxBytes`. */
  readonly keepBytes?: number | undefined;
}

export interface LimitedLog {
  readonly truncated: boolean;
  /** Bytes cut off by this call; what a writer appended in the last instant before the cut is not in the number. */
  readonly droppedBytes: number;
  readonly sizeBytes: number;
}

const lossPattern = /^\[wakeful\] (\d+) bytes of older output were dropped here \(log\.maxBytes is \d+\)\n/;
const lossLine = (droppedBytes: number, maxBytes: number): string =>
  `[wakeful] ${droppedBytes} bytes of older output were dropped here (log.maxBytes is ${maxBytes})\n`;
/** How much of a log's beginning {@link lossAt} needs. */
export const lossLineBytesMax = 160;

/** What the first line of a log says of what is gone: nothing, unless it notes a loss. */
export function lossAt(head: Uint8Array): { readonly droppedBytes: number; readonly lineBytes: number } {
  const line = lossPattern.exec(Buffer.from(head).toString("latin1"));
  return { droppedBytes: Number(line?.[1] ?? 0), lineBytes: line?.[0].length ?? 0 };
}

/** Where the kept part may begin: after the first line end if there is one, else at the start of a UTF-8 character. */
export function cleanStart(tail: Uint8Array): number {
  const lineEnd = tail.indexOf(0x0a);
  if (lineEnd >= 0 && lineEnd < tail.length - 1) return lineEnd + 1;
  let start = 0;
  while (start < 3 && start < tail.length && ((tail[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return start;
}

/**
 * Shortens a log that is too long in place: copies its newest part to the front, behind a line that notes the loss, and cuts the file
 * there. Writers with O_APPEND go on at the new end.
 *
 * @throws When the log cannot be read or written, or is no regular file (`not_a_file`).
 */
export async function limitLog(options: LimitLogOptions): Promise<LimitedLog> {
  const { path, maxBytes } = options;
  const keepBytes = Math.min(options.keepBytes ?? Math.floor(maxBytes / 2), Math.floor(maxBytes / 2));
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 4096)
    throw new RangeError(`maxBytes must be an integer of at least 4096, got ${maxBytes}`);
  if (!Number.isSafeInteger(keepBytes) || keepBytes < 0) throw new RangeError(`keepBytes must not be negative, got ${keepBytes}`);
  let handle: FileHandle;
  try {
    handle = await openRegular(path, constants.O_RDWR);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return { truncated: false, droppedBytes: 0, sizeBytes: 0 };
    throw error;
  }
  try {
    const { size } = await handle.stat();
    if (size <= maxBytes) return { truncated: false, droppedBytes: 0, sizeBytes: size };
    return await shorten(handle, { size, keepBytes, maxBytes });
  } finally {
    await handle.close();
  }
}

async function shorten(
  handle: FileHandle,
  { size, keepBytes, maxBytes }: { readonly size: number; readonly keepBytes: number; readonly maxBytes: number },
): Promise<LimitedLog> {
  const head = Buffer.alloc(Math.min(lossLineBytesMax, size));
  await handle.read(head, 0, head.length, 0);
  const { droppedBytes: earlierLossBytes, lineBytes: earlierLineBytes } = lossAt(head);

  const tail = Buffer.alloc(keepBytes);
  const { bytesRead } = await handle.read(tail, 0, keepBytes, size - keepBytes);
  const kept = tail.subarray(cleanStart(tail.subarray(0, bytesRead)), bytesRead);
  const droppedBytes = size - earlierLineBytes - kept.length;
  const front = Buffer.concat([Buffer.from(lossLine(earlierLossBytes + droppedBytes, maxBytes)), kept]);
  // The front is at most half of the file, so it never reaches the part that it was copied from.
  await handle.write(front, 0, front.length, 0);
  return { truncated: true, droppedBytes, sizeBytes: copyRestAndCut(handle.fd, { end: front.length, copiedTo: size }) };
}

const copyRoundsMax = 256;

/**
 * Copies what writers append during the copy, until nothing new comes, then cuts: only output of the microseconds between is lost.
 * Synchronous, so that no other work of this process comes between.
 */
function copyRestAndCut(fd: number, from: { readonly end: number; readonly copiedTo: number }): number {
  let { end, copiedTo } = from;
  // No more at a time than lies between the two, so that the copy never runs into what it copies.
  const buffer = Buffer.alloc(Math.min(64 * 1024, copiedTo - end));
  // Bounded, for a writer that is faster than this copy: what it writes beyond is lost now rather than a moment later.
  for (let round = 0; round < copyRoundsMax && fstatSync(fd).size > copiedTo; round += 1) {
    const bytes = readSync(fd, buffer, 0, buffer.length, copiedTo);
    writeSync(fd, buffer, 0, bytes, end);
    copiedTo += bytes;
    end += bytes;
  }
  ftruncateSync(fd, end);
  return end;
}
