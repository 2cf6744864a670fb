import type { DurationMs } from "./time.ts";

/** Milliseconds of each unit that a duration may be written in. */
const unitMs = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
} as const;
type DurationUnit = keyof typeof unitMs;

/** Bytes of each unit that a size may be written in: decimal `MB` and binary `MiB` are different things. */
const unitBytes = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;
type SizeUnit = keyof typeof unitBytes;

/** A duration as people write it: `250ms`, `600s`, `1.5h`, `7d`. */
export type DurationText = `${number}${DurationUnit}`;
/** A size as people write it: `500MB`, `16MiB`. */
export type SizeText = `${number}${SizeUnit}`;

/** As a regular expression's source, for schemas. */
export const durationPattern = "^[0-9]{1,15}(\\.[0-9]{1,6})?(ms|s|m|h|d)$";
export const sizePattern = "^[0-9]{1,15}(\\.[0-9]{1,6})?(B|[kK]B|MB|GB|TB|KiB|MiB|GiB|TiB)$";

/** What became of a text that should be a quantity: its value, or the rule that it broke, as a sentence's end. */
export type Parsed = { readonly ok: true; readonly value: number } | { readonly ok: false; readonly rule: string };

const durationText = new RegExp(durationPattern);
const sizeText = new RegExp(sizePattern);

/** Reads a duration text as whole milliseconds. Anything else, a bare number among it, is answered with the rule that it broke. */
export function parseDuration(input: unknown): Parsed {
  if (typeof input === "number") {
    return {
      ok: false,
      rule: `needs a unit: write ${input}s for seconds, or ms, m, h, d`,
    };
  }
  const unit = typeof input === "string" ? durationText.exec(input)?.[2] : undefined;
  if (typeof input !== "string" || unit === undefined) {
    return {
      ok: false,
      rule: "must be a number and a unit (ms, s, m, h or d), such as 600s or 1.5h",
    };
  }
  return whole(Number.parseFloat(input) * unitMs[unit as DurationUnit], "milliseconds");
}

/** Reads a size text as whole bytes; a bare whole number is bytes, because keys of sizes end in `Bytes`. */
export function parseSize(input: unknown): Parsed {
  if (typeof input === "number") return whole(input, "bytes");
  const unit = typeof input === "string" ? sizeText.exec(input)?.[2] : undefined;
  if (typeof input !== "string" || unit === undefined) {
    return {
      ok: false,
      rule: "must be a number of bytes, or a number and a unit (B, kB, MB, GB, KiB, MiB, GiB), such as 500MB",
    };
  }
  return whole(Number.parseFloat(input) * unitBytes[unit as SizeUnit], "bytes");
}

function whole(value: number, unit: string): Parsed {
  // Decimal fractions are rarely exact in binary: a value within a thousandth of a whole number means that number.
  const rounded = Math.round(value);
  if (!Number.isSafeInteger(rounded) || rounded < 0)
    return {
      ok: false,
      rule: `is out of range: it must be 0 to ${Number.MAX_SAFE_INTEGER} ${unit}`,
    };
  if (Math.abs(value - rounded) > 0.001) return { ok: false, rule: `must be a whole number of ${unit}` };
  return { ok: true, value: rounded };
}

/** The shortest text that {@link parseDuration} reads back as `ms`: 600000 is `10m`, 1500 is `1500ms`. */
export function formatDuration(ms: DurationMs): DurationText {
  for (const unit of ["d", "h", "m", "s"] as const) {
    if (ms !== 0 && ms % unitMs[unit] === 0) return `${ms / unitMs[unit]}${unit}`;
  }
  return ms === 0 ? "0s" : `${ms}ms`;
}

/** The shortest binary text that {@link parseSize} reads back as `bytes`: 16777216 is `16MiB`. */
export function formatSize(bytes: number): SizeText {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"] as const) {
    if (bytes !== 0 && bytes % unitBytes[unit] === 0) return `${bytes / unitBytes[unit]}${unit}`;
  }
  return `${bytes}B`;
}
