/** The first `max` units of a text, less one where that would split a character. */
export function cutText(text: string, max: number): string {
  const last = text.charCodeAt(max - 1);
  const splits = last >= 0xd800 && last <= 0xdbff && text.length > max;
  return text.slice(0, splits ? max - 1 : max);
}
