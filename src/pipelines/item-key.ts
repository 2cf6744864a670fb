import { WakefulError } from "../domain/errors.ts";

const itemKeyBytesMax = 200;
/** The longest name that file systems allow, in bytes. */
const fileNameBytesMax = 255;

/**
 * Returns `key` when it may name an item: a file name of 1 to 200 bytes of UTF-8 that begins neither with `-` (an option) nor `.` (hidden),
 * without separators and control characters.
 * @throws {WakefulError} `bad_request` with the broken rule.
 */
export function checkedItemKey(key: string): string {
  const rule = brokenKeyRule(key);
  if (rule !== undefined)
    throw new WakefulError("bad_request", `The item key ${JSON.stringify(key.slice(0, 80))} ${rule}.`, { details: { field: "key" } });
  return key;
}

function brokenKeyRule(key: string): string | undefined {
  if (key === "") return "is empty";
  if (Buffer.byteLength(key) > itemKeyBytesMax) return `is longer than ${itemKeyBytesMax} bytes`;
  // A lone surrogate becomes a replacement character on disk, so two keys would share one directory.
  if (Buffer.from(key, "utf8").toString("utf8") !== key) return "is not well-formed text";
  if (/^[-.]/.test(key)) return 'begins with "-" or "."';
  if (/[/\\]/.test(key)) return 'holds "/" or "\\": it must be one file name';
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(key)) return "holds a control character";
  if (key.trim() !== key) return "begins or ends with white space";
  return undefined;
}

/** The directories an item may get, in the order of the attempts: its key, or its key and pipeline when another has that one. */
export function itemDirectories({ key, pipeline }: { readonly key: string; readonly pipeline: string }): readonly string[] {
  return [key, `${key}~${pipeline}`].filter((dir) => Buffer.byteLength(dir) <= fileNameBytesMax);
}
