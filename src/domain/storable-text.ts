/** NUL, and half a surrogate pair. With `u` a whole pair is one character. PostgreSQL stores neither, SQLite changes both. */
const unstorable = /[\0\ud800-\udfff]/u;
const allUnstorable = /[\0\ud800-\udfff]/gu;
const replacement = "\ufffd";

/** Most bytes of a name, key or id: two of them fit into one entry of an index. */
export const nameBytesMax = 1024;
/** Most bytes of a text for people. */
const wordsBytesMax = 32_768;
/** Most bytes of a JSON text that only explains. */
export const explanationBytesMax = 262_144;

/** Whether both engines store `text` as it is. */
export const isStorable = (text: string): boolean => !unstorable.test(text);

/** `text` with U+FFFD in the place of each character that cannot be stored. */
export const storable = (text: string): string => (unstorable.test(text) ? text.replaceAll(allUnstorable, replacement) : text);

/** A text for people, storable and of at most `bytesMax` bytes of UTF-8; what is cut off is counted at its end. */
export function storableWords(text: string, bytesMax = wordsBytesMax): string {
  const whole = storable(text);
  // No character takes more than three bytes per unit of its string.
  if (whole.length * 3 <= bytesMax) return whole;
  const bytes = bytesOf(whole);
  if (bytes <= bytesMax) return whole;
  const note = `... (${bytes} bytes)`;
  return `${startOf(whole, bytesMax - note.length)}${note}`;
}

/** A JSON text, storable; one of more than `bytesMax` bytes is replaced by a note of its size, because half of one is none. */
export function storableJson(text: string, bytesMax = Number.POSITIVE_INFINITY): string {
  const whole = storable(text);
  if (whole.length * 3 <= bytesMax) return whole;
  const bytes = bytesOf(whole);
  return bytes <= bytesMax ? whole : JSON.stringify(`(${bytes} bytes)`);
}

/** Why `text` can be no name, key or id; undefined: it can. A name is refused and never cleaned: two would become one. */
export function brokenNameRule(text: string): string | undefined {
  if (unstorable.test(text)) return "holds a NUL or half a surrogate pair";
  if (text.length * 3 > nameBytesMax && bytesOf(text) > nameBytesMax) return `has more than ${nameBytesMax} bytes`;
  return undefined;
}

/** `text` in ASCII: for a database whose encoding lacks a character. The escapes are those of JSON, so a JSON text keeps its value. */
export function asciiText(text: string): string {
  // Not /u: a pair becomes two escapes, as in JSON.
  return text.replaceAll(/[^\t\n\r -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function bytesOf(text: string): number {
  let bytes = 0;
  for (const character of text) bytes += bytesOfCharacter(character);
  return bytes;
}

/** Its longest start of whole characters that has at most `bytesMax` bytes. */
function startOf(text: string, bytesMax: number): string {
  let [bytes, end] = [0, 0];
  for (const character of text) {
    bytes += bytesOfCharacter(character);
    if (bytes > bytesMax) break;
    end += character.length;
  }
  return text.slice(0, end);
}

function bytesOfCharacter(character: string): number {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x1_0000 ? 3 : 4;
}
