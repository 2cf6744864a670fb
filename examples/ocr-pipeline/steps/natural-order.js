// @ts-check

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/**
 * Orders entry names as a reader would: `2.png` before `10.png`, folder by folder. Names that a reader would call equal
 * (`a.png`, `A.png`) are ordered by their characters, so the order is the same on every machine.
 *
 * @param {string} a
 * @param {string} b
 */
export function compareNaturally(a, b) {
  const left = a.split("/");
  const right = b.split("/");
  for (let index = 0; index < Math.min(left.length, right.length); index += 1) {
    const order = collator.compare(left[index] ?? "", right[index] ?? "");
    if (order !== 0) return order;
  }
  if (left.length !== right.length) return left.length - right.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
