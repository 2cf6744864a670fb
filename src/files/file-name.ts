/** What file systems allow one name to be, less room for a number or an ending that is added to it. */
const safeNameBytesMax = 200;

/**
 * A file's name as it is shown and stored. Malformed bytes become `\xNN` and unprintable letters `\u{N}`, so that different names never
 * look alike and no terminal obeys one.
 */
export function labelOf(nameBytes: Buffer): string {
  const text = nameBytes.toString("utf8");
  const printable = Buffer.from(text, "utf8").equals(nameBytes) ? text : escapedBytes(nameBytes);
  return printable.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (letter) => `\\u{${(letter.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Each byte that is no part of well-formed text as `\xNN`. */
function escapedBytes(bytes: Buffer): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const length = wellFormedLength(bytes, at);
    text += length === 0 ? `\\x${(bytes[at] ?? 0).toString(16).padStart(2, "0")}` : bytes.toString("utf8", at, at + length);
    at += Math.max(1, length);
  }
  return text;
}

/** Bytes of the one letter that begins at `at`; 0 when none does. */
function wellFormedLength(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
    const slice = bytes.subarray(at, at + length);
    if (Buffer.from(slice.toString("utf8"), "utf8").equals(slice)) return length;
  }
  return 0;
}

/**
 * A name as one safe part of a path or argument: no separators, control letters or letters special to shells and other systems, no leading
 * `-` or `.`, at most 200 bytes with its ending kept. Never empty.
 */
export function safeFileName(label: string): string {
  const plain = label
    .replace(/[\p{C}\p{Zl}\p{Zp}/\\:*?"<>|`$]/gu, "_")
    .replace(/^[\s.-]+/, "_")
    .replace(/[\s.]+$/, "");
  if (Buffer.byteLength(plain) <= safeNameBytesMax) return plain === "" ? "file" : plain;
  const { stem, ending } = splitName(plain);
  const room = safeNameBytesMax - Buffer.byteLength(ending);
  return `${truncated(stem, room)}${ending}`;
}

/** The name's ending with its dot, where it is short enough to be one. */
export function splitName(name: string): { readonly stem: string; readonly ending: string } {
  const ending = /\.[^.]{1,16}$/.exec(name)?.[0] ?? "";
  return { stem: name.slice(0, name.length - ending.length), ending };
}

function truncated(text: string, bytesMax: number): string {
  let kept = "";
  let bytes = 0;
  for (const letter of text) {
    bytes += Buffer.byteLength(letter);
    if (bytes > bytesMax) break;
    kept += letter;
  }
  return kept;
}
