/** A parameter as the server reads it. Lists become its array literals, whose items stand in quotes where they are text. */
export function parameterText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return Array.isArray(value) ? arrayText(value) : plainText(value);
}

function arrayText(items: readonly unknown[]): string {
  let text = "{";
  let separator = "";
  for (const item of items) {
    text += separator;
    separator = ",";
    if (item === null || item === undefined) text += "NULL";
    else if (typeof item === "string") text += `"${item.replace(/["\\]/g, "\\$&")}"`;
    else text += plainText(item);
  }
  return `${text}}`;
}

function plainText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new TypeError(`No parameter of a statement can be made of a ${typeof value}.`);
}
