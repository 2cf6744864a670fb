import { z } from "zod";
import { durationPattern, formatDuration, formatSize, type Parsed, parseDuration, parseSize, sizePattern } from "../domain/durations.ts";
import { days, seconds } from "../domain/time.ts";

/** An environment variable that another system named, and the unit of a bare number in it where that differs from the key's. */
export interface SettingAlias {
  readonly name: string;
  readonly unit?: "s" | "days" | "MiB" | undefined;
}

/** Variables of another system that each hold a part of the value. */
export interface AssembledAlias {
  readonly names: readonly string[];
  /** The value as the file would hold it, from the variables that are set: at least one. */
  readonly join: (parts: Readonly<Record<string, string | undefined>>) => string;
}

/** What the documentation, the environment and the command line need to know of a setting. */
export interface SettingInfo {
  readonly type: string;
  readonly unit: string;
  readonly default: string;
  readonly bounds: string;
  readonly meaning: string;
  /** What the JSON schema says to editors. */
  readonly json: Readonly<Record<string, unknown>>;
  readonly aliases: readonly SettingAlias[];
  readonly assembled: AssembledAlias | undefined;
  /** Relative values are resolved against the place they were written in: the file's folder, or the working directory. */
  readonly isPath: boolean;
  /** The value that the file would hold for the text of a variable or flag; not yet validated. */
  readonly fromText: (text: string, unit?: SettingAlias["unit"]) => unknown;
}

interface SettingOptions<T> {
  readonly default: T;
  readonly meaning: string;
  readonly aliases?: readonly (string | SettingAlias)[] | undefined;
  readonly assembled?: AssembledAlias | undefined;
}

interface Kind<T> {
  readonly type: string;
  readonly unit?: string | undefined;
  readonly bounds?: string | undefined;
  readonly isPath?: boolean | undefined;
  readonly json: Readonly<Record<string, unknown>>;
  readonly parse: (
    input: unknown,
  ) => { readonly ok: true; readonly value: T } | { readonly ok: false; readonly rule: string; readonly known?: readonly string[] };
  readonly show: (value: T) => string;
  readonly fromText?: SettingInfo["fromText"] | undefined;
}

/** The settings by their schema. A registry beside the schemas keeps our own data out of the JSON schema. */
export const settingInfo = z.registry<SettingInfo>();

function setting<T>(kind: Kind<NonNullable<T>>, options: SettingOptions<T>): z.ZodType<T> {
  const fallback = options.default;
  const shown = fallback === undefined || fallback === null ? "" : kind.show(fallback);
  // `optional` comes before the transform: an absent key must reach it to become the default.
  const schema = z
    .unknown()
    .optional()
    .transform((input, context): T => {
      // An empty key (`concurrency:`) means its default, as an empty variable does.
      if (input === undefined || input === null) return fallback;
      const parsed = kind.parse(input);
      if (parsed.ok) return parsed.value;
      context.issues.push({
        code: "custom",
        message: parsed.rule,
        input,
        params: { known: parsed.known },
      });
      return z.NEVER;
    });
  settingInfo.add(schema, {
    type: kind.type,
    unit: kind.unit ?? "",
    default: shown,
    bounds: kind.bounds ?? "",
    meaning: options.meaning,
    json: { description: options.meaning, ...kind.json, default: fallback },
    aliases: (options.aliases ?? []).map((alias) => (typeof alias === "string" ? { name: alias } : alias)),
    assembled: options.assembled,
    isPath: kind.isPath ?? false,
    fromText: kind.fromText ?? ((text) => text),
  });
  return schema;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** A number in a text, times its unit's factor. Any other text stays, and validation reports it. */
function numberFromText(factors: Partial<Record<NonNullable<SettingAlias["unit"]>, number>>): SettingInfo["fromText"] {
  return (text, unit) => {
    const number = text.trim() === "" ? Number.NaN : Number(text);
    if (!Number.isFinite(number)) return text.trim();
    const scaled = number * (unit === undefined ? 1 : (factors[unit] ?? 1));
    return Math.abs(scaled - Math.round(scaled)) < 1e-6 ? Math.round(scaled) : scaled;
  };
}

function within(parsed: Parsed, { min, max }: Bounds, show: (value: number) => string): Parsed {
  if (!parsed.ok || (parsed.value >= min && parsed.value <= max)) return parsed;
  return { ok: false, rule: `must be ${show(min)} to ${show(max)}` };
}

const wholeNumber = (input: unknown): Parsed =>
  typeof input === "number" && Number.isSafeInteger(input) ? { ok: true, value: input } : { ok: false, rule: "must be a whole number" };

export function integer(options: SettingOptions<number> & Bounds & { readonly unit?: string }): z.ZodType<number> {
  const { min, max } = options;
  return setting<number>(
    {
      type: "whole number",
      unit: options.unit ?? "",
      bounds: `${min} to ${max}`,
      json: { type: "integer", minimum: min, maximum: max },
      parse: (input) => within(wholeNumber(input), options, String),
      show: String,
      fromText: numberFromText({ days: 1 }),
    },
    options,
  );
}

export function decimal(options: SettingOptions<number> & Bounds): z.ZodType<number> {
  const { min, max } = options;
  const parse = (input: unknown): Parsed =>
    typeof input === "number" && Number.isFinite(input) ? { ok: true, value: input } : { ok: false, rule: "must be a number" };
  return setting<number>(
    {
      type: "number",
      bounds: `${min} to ${max}`,
      json: { type: "number", minimum: min, maximum: max },
      parse: (input) => within(parse(input), options, String),
      show: String,
      fromText: numberFromText({}),
    },
    options,
  );
}

/** Milliseconds as a number (the key ends in `Ms`), or a text with its unit. */
export function durationSetting(options: SettingOptions<number> & Bounds): z.ZodType<number> {
  const { min, max } = options;
  return setting<number>(
    {
      type: "duration",
      unit: "ms",
      bounds: `${formatDuration(min)} to ${formatDuration(max)}`,
      json: {
        anyOf: [
          { type: "integer", minimum: min, maximum: max },
          { type: "string", pattern: durationPattern },
        ],
      },
      parse: (input) => within(typeof input === "number" ? wholeNumber(input) : parseDuration(input), options, formatDuration),
      show: (value) => `${value} (${formatDuration(value)})`,
      fromText: numberFromText({ s: seconds(1), days: days(1) }),
    },
    options,
  );
}

/** Bytes as a number (the key ends in `Bytes`), or a text with its unit. */
export function sizeBytes(options: SettingOptions<number> & Bounds): z.ZodType<number> {
  const { min, max } = options;
  return setting<number>(
    {
      type: "size",
      unit: "bytes",
      bounds: `${formatSize(min)} to ${formatSize(max)}`,
      json: {
        anyOf: [
          { type: "integer", minimum: min, maximum: max },
          { type: "string", pattern: sizePattern },
        ],
      },
      parse: (input) => within(parseSize(input), options, formatSize),
      show: (value) => `${value} (${formatSize(value)})`,
      fromText: numberFromText({ MiB: 2 ** 20 }),
    },
    options,
  );
}

const truthTexts: Readonly<Record<string, boolean>> = {
  true: true,
  "1": true,
  yes: true,
  on: true,
  false: false,
  "0": false,
  no: false,
  off: false,
};

export function flag(options: SettingOptions<boolean>): z.ZodType<boolean> {
  return setting<boolean>(
    {
      type: "true or false",
      json: { type: "boolean" },
      parse: (input) => (typeof input === "boolean" ? { ok: true, value: input } : { ok: false, rule: "must be true or false" }),
      show: String,
      fromText: (text) => truthTexts[text.trim().toLowerCase()] ?? text,
    },
    options,
  );
}

export function text<T extends string | undefined>(
  options: SettingOptions<T> & { readonly isPath?: boolean; readonly rule?: (value: string) => string | undefined },
): z.ZodType<T> {
  return setting<T>(
    {
      type: options.isPath === true ? "path" : "text",
      isPath: options.isPath ?? false,
      json: { type: "string", minLength: 1 },
      parse: (input) => {
        if (typeof input !== "string" || input === "") return { ok: false, rule: "must be a text that is not empty" };
        const broken = input.includes("\0") ? "may not hold a NUL" : options.rule?.(input);
        return broken === undefined ? { ok: true, value: input as NonNullable<T> } : { ok: false, rule: broken };
      },
      show: String,
    },
    options,
  );
}

export function oneOf<const T extends string>(options: SettingOptions<T> & { readonly values: readonly T[] }): z.ZodType<T> {
  return setting<T>(
    {
      type: "one of",
      bounds: options.values.join(", "),
      json: { type: "string", enum: [...options.values] },
      parse: (input) => {
        const value = options.values.find((candidate) => candidate === input);
        return value === undefined
          ? { ok: false, rule: `must be one of ${options.values.join(", ")}`, known: options.values }
          : { ok: true, value };
      },
      show: String,
    },
    options,
  );
}

/** Texts; in a variable or flag separated by commas, trimmed, without blanks. */
export function list(options: SettingOptions<readonly string[]>): z.ZodType<readonly string[]> {
  return setting<readonly string[]>(
    {
      type: "list of texts",
      json: { type: "array", items: { type: "string", minLength: 1 } },
      parse: (input) =>
        Array.isArray(input) && input.every((entry) => typeof entry === "string" && entry.trim() !== "")
          ? { ok: true, value: input.map((entry: string) => entry.trim()) }
          : { ok: false, rule: "must be a list of texts" },
      show: (value) => `[${value.join(", ")}]`,
      fromText: (value) =>
        value
          .split(",")
          .map((entry) => entry.trim())
          .filter((entry) => entry !== ""),
    },
    options,
  );
}

/**
 * A group of settings. An absent or empty group has all its defaults. A mistake in one key hides none in others: zod reports every key of a
 * closed object.
 */
export function section<Shape extends z.core.$ZodShape>(shape: Shape, meaning: string) {
  const closed = z.strictObject(shape);
  return z.preprocess((input) => input ?? {}, closed).meta({ description: meaning });
}
