import { type DurationMs, days, hours, minutes, seconds } from "./time.ts";

/** Milliseconds of each unit that a duration may be written in. */
const unitMs = {
  ms: 1,
  s: seconds(1),
  m: minutes(1),
  h: hours(1),
  d: days(1),
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

/** Units of a length of time as people say it, with that of the rest: nobody needs the seconds of a day. */
const saidUnits = [
  { unit: "d", ms: days(1), rest: { unit: "h", ms: hours(1) } },
  { unit: "h", ms: hours(1), rest: { unit: "min", ms: minutes(1) } },
  { unit: "min", ms: minutes(1), rest: { unit: "s", ms: seconds(1) } },
] as const;

/** A length of time as people say it: `250 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function spanText(ms: DurationMs): string {
  if (ms < seconds(1)) return `${Math.round(ms)} ms`;
  const said = saidUnits.find((each) => ms >= each.ms);
  if (said === undefined) return `${Number((ms / seconds(1)).toFixed(1))} s`;
  const rest = Math.floor((ms % said.ms) / said.rest.ms);
  return `${Math.floor(ms / said.ms)} ${said.unit}${rest === 0 ? "" : ` ${rest} ${said.rest.unit}`}`;
}

/** A length of time beside a limit, for verdicts, which name their numbers in seconds: `0.25 s` below ten, `600 s` from there on. */
export const inSeconds = (ms: DurationMs): string => `${Number((ms / seconds(1)).toFixed(ms < seconds(10) ? 2 : 0))} s`;

/** The shortest binary text that {@link parseSize} reads back as `bytes`: 16777216 is `16MiB`. */
export function formatSize(bytes: number): SizeText {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"] as const) {
    if (bytes !== 0 && bytes % unitBytes[unit] === 0) return `${bytes / unitBytes[unit]}${unit}`;
  }
  return `${bytes}B`;
}
