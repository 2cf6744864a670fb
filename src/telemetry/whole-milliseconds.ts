/**
 * Data of an event with every duration in it (a field whose name ends in `Ms`) as a whole number. Clocks that measure give fractions, which
 * nobody reads, and whoever reads durations as integers could not read at all. Data without fractions is given back as it is.
 */
export function wholeMilliseconds<Data extends object>(data: Data): Data {
  let rounded: Record<string, unknown> | undefined;
  for (const [key, value] of Object.entries(data) as [string, unknown][]) {
    const whole = wholeValue(key, value);
    if (!Object.is(whole, value)) rounded = { ...(rounded ?? data), [key]: whole };
  }
  // The same keys with values of the same types.
  return rounded === undefined ? data : (rounded as Data);
}

function wholeValue(key: string, value: unknown): unknown {
  if (typeof value === "number") return key.endsWith("Ms") && !Number.isInteger(value) ? Math.round(value) : value;
  // Details of alerts and settings of loops; deeper is nothing, and what is no plain data is the emitter's own.
  return isPlain(value) ? wholeMilliseconds(value) : value;
}

const isPlain = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
