import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { hasCode } from "../domain/errors.ts";
import { lossAt, lossLineBytesMax } from "../files/log-limit.ts";
import { ControlStripper } from "../protocol/terminal-text.ts";

export interface LogRequest {
  readonly path: string;
  /** How much of the current end to begin with. Absent: begins at the beginning. */
  readonly tailBytes?: number | undefined;
  readonly raw: boolean;
  /** Whether more may come. Asked before each read, so that what was written before a `false` is still read. */
  readonly goesOn: () => Promise<boolean>;
  /** Waits until it is worth looking again. */
  readonly pause: () => Promise<void>;
}

const pieceBytes = 64 * 1024;

/**
 * A log in pieces, without terminal controls unless `raw`; ends at the end of the file once nothing more can come. A cut (log-limit.ts)
 * moves bytes inside the file, so positions count bytes of the whole output.
 */
export async function* readLog({ path, tailBytes, raw, goesOn, pause }: LogRequest): AsyncGenerator<string> {
  let decoder = new StringDecoder("utf8");
  const stripper = new ControlStripper();
  const clean = (text: string): string => (raw ? text : stripper.push(text));
  let place: Place | undefined;
  for (;;) {
    const mayGrow = await goesOn();
    const file = await openRegular(path);
    if (file !== undefined) {
      try {
        for (;;) {
          const look = await lookAt(file);
          place ??= { ...look, reached: look.begin + (tailBytes === undefined ? 0 : Math.max(0, look.size - tailBytes)) };
          if (look.ino !== place.ino || look.lost !== place.lost || look.size < place.reached - look.begin) {
            // The cut may be under way: until it ends, the old end still stands behind the new beginning.
            await pause();
            const settled = await lookAt(file);
            const { note, reached } = goOn(place, settled);
            place = { ...settled, reached };
            yield `${clean(decoder.end())}\n[${note}]\n`;
            decoder = new StringDecoder("utf8");
            continue;
          }
          const piece = await pieceAt(file, place.reached - look.begin);
          if (piece.length === 0) break;
          // A cut during the read may have moved other bytes to this position: read again.
          const after = await lookAt(file);
          if (after.lost !== look.lost || after.size < place.reached - look.begin + piece.length) continue;
          place = { ...place, reached: place.reached + piece.length };
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

interface Look {
  readonly ino: number;
  readonly size: number;
  /** Bytes of the output that are gone. */
  readonly lost: number;
  /** Position of the file's first byte in the whole output, as if the line about the loss were output too. */
  readonly begin: number;
}

/** A reader's position: the file as last seen, and the bytes of the whole output read so far. */
interface Place extends Look {
  readonly reached: number;
}

async function lookAt(file: FileHandle): Promise<Look> {
  const head = Buffer.alloc(lossLineBytesMax);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  const { droppedBytes, lineBytes } = lossAt(head.subarray(0, bytesRead));
  const { ino, size } = await file.stat();
  return { ino, size, lost: droppedBytes, begin: droppedBytes - lineBytes };
}

/** Where to continue in a log that has changed since the last read. */
function goOn(place: Place, now: Look): { readonly note: string; readonly reached: number } {
  if (now.ino !== place.ino || now.lost < place.lost || now.size < place.reached - now.begin)
    return { note: "the log was emptied or replaced; it goes on from its new beginning", reached: now.begin };
  const missed = now.lost - place.reached;
  if (missed > 0) return { note: `the log was cut: ${missed} bytes are gone that were not shown here`, reached: now.lost };
  return { note: "the log was cut; it goes on where it was", reached: place.reached };
}

async function pieceAt(file: FileHandle, position: number): Promise<Buffer> {
  const buffer = Buffer.alloc(pieceBytes);
  const { bytesRead } = await file.read(buffer, 0, pieceBytes, position);
  return buffer.subarray(0, bytesRead);
}

/** A regular file, and not through a link: the folder belongs to the command, which may put anything there. */
async function openRegular(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    // Not written yet, or replaced by the command with a link or socket: nothing of ours to show.
    if (hasCode(thrown, "ENOENT", "ELOOP", "ENXIO", "ENOTDIR")) return undefined;
    throw thrown;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}
