/**
 * Deepest nesting of JSON that is kept. Programs that read or write JSON fail at depths of their own above a few thousand: what one lets
 * in, another could not give out again.
 */
export const jsonNestingMax = 256;

const quote = 0x22;
const backslash = 0x5c;
const openings = new Set([0x5b, 0x7b]);
const closings = new Set([0x5d, 0x7d]);

/**
 * Whether a JSON text nests lists and maps deeper than `jsonNestingMax`. Uses no stack; the answer for a text that is not JSON means
 * nothing.
 */
export function isNestedTooDeep(text: string): boolean {
  // Each level takes two characters.
  if (text.length <= 2 * jsonNestingMax) return false;
  let depth = 0;
  let inText = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (inText) {
      if (code === backslash) at++;
      else if (code === quote) inText = false;
    } else if (code === quote) inText = true;
    else if (openings.has(code)) {
      if (++depth > jsonNestingMax) return true;
    } else if (closings.has(code)) depth--;
  }
  return false;
}

export const nestingRule = `lists and maps may be nested ${jsonNestingMax} deep at most`;
