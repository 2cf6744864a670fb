import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { hasCode } from "../domain/errors.ts";
import { lossAt, lossLineBytesMax } from "../files/log-limit.ts";
import { ControlStripper } from "../protocol/terminal-text.ts";

export interface LogRequest {
  readonly path: string;
  /** Only the end of what there is now. */
  readonly tailBytes?: number | undefined;
  readonly raw: boolean;
  /** Whether more may come. Asked before each look at the file, so that what was written before a `false` is still read. */
  readonly goesOn: () => Promise<boolean>;
  /** Waits until it is worth looking again. */
  readonly pause: () => Promise<void>;
}

const pieceBytes = 64 * 1024;

/**
 * The text of a log, piece by piece; with terminal controls removed unless `raw`. Ends at the end of the file once nothing more can come.
 *
 * A log is cut by copy while it is read: what stays moves to its beginning, behind a line with the number of bytes that are gone. So the
 * place that is reached is counted in bytes of the whole output, and found again by that number; a line of ours says what happened.
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
            // The cut may be under way: behind the new beginning lies the old end, until it is cut off.
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
          // Cut while it was read: whatever this is, it is not what stood there.
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
  /** The byte of the whole output that stands at the file's beginning, were the line about the loss output too. */
  readonly begin: number;
}

/** Where a reader has come to: in the file as it was seen, and in bytes of the whole output. */
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

/** Where to go on in a log that is not as it was left. */
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

/** Not through a link and nothing but a regular file: the folder belongs to the command, which may put there what it likes. */
async function openRegular(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    // Not written yet, or put there by the command as a link or socket: there is nothing of ours to show.
    if (hasCode(thrown, "ENOENT", "ELOOP", "ENXIO", "ENOTDIR")) return undefined;
    throw thrown;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}
