/** JSON as text: the store never looks inside, and the hot path never parses it twice. */
export type JsonText = string;

/** The value of a stored JSON text; a text that is none (a run may have written anything) is shown as the text it is. */
export function valueOf(text: JsonText | null): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    // Shown as it is: hiding it would hide what went wrong.
    return text;
  }
}
