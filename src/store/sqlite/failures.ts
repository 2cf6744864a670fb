import { hasCode, isWakefulError, messageOf } from "../../domain/errors.ts";
import { DiskFullError, StoreContentError, StoreCorruptError, StoreReadOnlyError, StoreUnavailableError } from "../port/errors.ts";

/** Primary result codes of SQLite that mean something to a caller; the extended code carries them in its low byte. */
const busy = 5;
const locked = 6;
const readOnly = 8;
const ioError = 10;
const corrupt = 11;
const full = 13;
const cannotOpen = 14;
const tooBig = 18;
const notADatabase = 26;
/** The log of a write that ran out of space, or over a quota, reports as an I/O error of these kinds. */
const ioErrorsOfWriting = new Set([ioError | (3 << 8), ioError | (4 << 8), ioError | (6 << 8)]);
const noSpace = new Set([28, 122]);

/** SQLite's own words for those codes, which no release has changed. */
const codesByWords: ReadonlyMap<string, number> = new Map([
  ["database is locked", busy],
  ["database table is locked", locked],
  ["attempt to write a readonly database", readOnly],
  ["disk I/O error", ioError],
  ["database disk image is malformed", corrupt],
  ["database or disk is full", full],
  ["string or blob too big", tooBig],
  ["unable to open database file", cannotOpen],
  ["file is not a database", notADatabase],
]);

/** Whatever the driver threw, as an error of ours where a caller can act on it; anything else as it is. */
export function sqliteFailure(thrown: unknown, store: string): unknown {
  if (isWakefulError(thrown)) return thrown;
  const code = numberField(thrown, "errcode") ?? codeOfWords(thrown);
  if (code === undefined) return thrown;
  const extended = numberField(thrown, "sqliteExtendedCode") ?? code;
  const found = messageOf(thrown);
  switch (code & 0xff) {
    case full:
      return new DiskFullError({ store, cause: thrown });
    case ioError:
      if (ioErrorsOfWriting.has(extended) && noSpace.has(numberField(thrown, "systemErrno") ?? 0))
        return new DiskFullError({ store, cause: thrown });
      return new StoreUnavailableError(`Reading or writing ${store} failed: ${found}. Check the disk and the system log.`, {
        cause: thrown,
      });
    case corrupt:
    case notADatabase:
      return new StoreCorruptError({ store, found, cause: thrown });
    case readOnly:
    case cannotOpen:
      return new StoreReadOnlyError({ store, found, cause: thrown });
    case tooBig:
      return new StoreContentError({ store, found, cause: thrown });
    case busy:
    case locked:
      return new StoreUnavailableError(`${store} is busy: another process has been writing to it for too long.`, { cause: thrown });
    default:
      return thrown;
  }
}

/** The driver's `all()` gives the words without the code: of every read, and of every write that returns rows. */
function codeOfWords(thrown: unknown): number | undefined {
  return hasCode(thrown, "ERR_SQLITE_ERROR") ? codesByWords.get(messageOf(thrown)) : undefined;
}

function numberField(thrown: unknown, name: string): number | undefined {
  if (typeof thrown !== "object" || thrown === null) return undefined;
  const value: unknown = Reflect.get(thrown, name);
  return typeof value === "number" ? value : undefined;
}
