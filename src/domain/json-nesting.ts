/**
 * Most lists and maps within one another in the JSON that is kept. Programs that read or write JSON fail somewhere above a few thousand,
 * each at a depth of its own: what one of them let in, another could not give out again.
 */
export const jsonNestingMax = 256;

const quote = 0x22;
const backslash = 0x5c;
const openings = new Set([0x5b, 0x7b]);
const closings = new Set([0x5d, 0x7d]);

/** Whether a JSON text holds more than `jsonNestingMax` lists and maps within one another. Costs no stack; what is no JSON gets any answer. */
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
