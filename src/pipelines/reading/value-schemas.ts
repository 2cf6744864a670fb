import { z } from "zod";
import { durationPattern, formatDuration, formatSize, parseDuration, parseSize, sizePattern } from "../../domain/durations.ts";

/** The JSON schema of values that zod cannot describe, because a transform reads them. */
export const inputJson = z.registry<Readonly<Record<string, unknown>>>();

interface Range {
  readonly min: number;
  readonly max: number;
}

export function duration(meaning: string, { min, max }: Range) {
  const schema = z.unknown().transform((input, context): number => {
    const parsed = parseDuration(input);
    const rule = parsed.ok
      ? parsed.value < min || parsed.value > max
        ? `must be ${formatDuration(min)} to ${formatDuration(max)}`
        : undefined
      : parsed.rule;
    if (rule === undefined && parsed.ok) return parsed.value;
    context.issues.push({ code: "custom", message: rule ?? "", input });
    return z.NEVER;
  });
  inputJson.add(schema, {
    type: "string",
    pattern: durationPattern,
    description: `${meaning} ${formatDuration(min)} to ${formatDuration(max)}.`,
  });
  return schema;
}

export function size(meaning: string, { min, max }: Range) {
  const schema = z.unknown().transform((input, context): number => {
    const parsed = parseSize(input);
    const rule = parsed.ok
      ? parsed.value < min || parsed.value > max
        ? `must be ${formatSize(min)} to ${formatSize(max)}`
        : undefined
      : parsed.rule;
    if (rule === undefined && parsed.ok) return parsed.value;
    context.issues.push({ code: "custom", message: rule ?? "", input });
    return z.NEVER;
  });
  inputJson.add(schema, {
    anyOf: [
      { type: "integer", minimum: min, maximum: max },
      { type: "string", pattern: sizePattern },
    ],
    description: meaning,
  });
  return schema;
}

export const whole = ({ min, max }: Range, meaning: string) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error }).meta({ description: meaning });
};
export const real = ({ min, max }: Range, meaning: string) => {
  const error = `must be a number from ${min} to ${max}`;
  return z.number({ error }).min(min, { error }).max(max, { error }).meta({ description: meaning });
};
export const plainText = (rule = "must be a text that is not empty; numbers and yes/no words need quotes") =>
  z
    .string({ error: rule })
    .min(1, { error: rule })
    .max(4096, { error: "has more than 4096 letters" })
    .refine((value) => !value.includes("\0"), { error: "may not hold a NUL" });

export const argv = z
  .array(
    z
      .string({ error: "must be a text: put numbers and yes/no words in quotes" })
      .refine((word) => !word.includes("\0"), { error: "may not hold a NUL" }),
    {
      error: "must be a list of words, such as [node, steps/prep.js]: no shell is in between",
    },
  )
  .min(1, { error: "must name a program" })
  .max(1000, { error: "has more than 1000 words" })
  .refine((words) => words[0] !== "", { error: "must begin with a program" });

export const notYet = (what: string) =>
  z
    .unknown()
    .optional()
    .meta({ description: `${what} Not available yet.` });

/** Refuses an object with none or several of `keys`. Unknown keys are reported separately, before this check. */
export function exactlyOne(value: Readonly<Record<string, unknown>>, keys: readonly string[], context: z.core.ParsePayload): void {
  const present = keys.filter((key) => value[key] !== undefined);
  // An unknown key was probably meant as one of these, and is reported already.
  if (present.length === 1 || (present.length === 0 && context.issues.length > 0)) return;
  const found = present.length === 0 ? "none is there" : `${present.join(" and ")} are there`;
  context.issues.push({ code: "custom", message: `must have exactly one of ${keys.join(", ")}; ${found}`, input: value });
}

export function refuseLater(
  value: Readonly<Record<string, unknown>>,
  keys: readonly string[],
  what: string,
  context: z.core.ParsePayload,
): void {
  for (const key of keys.filter((each) => value[each] !== undefined)) {
    context.issues.push({ code: "custom", message: `is not available yet: ${what}`, input: value[key], path: [key] });
  }
}

const hexBytes = z
  .string({ error: "must be a text of hexadecimal digits: put it in quotes" })
  .regex(/^([0-9a-fA-F]{2}){1,64}$/, { error: "must be 1 to 64 bytes as pairs of hexadecimal digits, such as 504b0304" });

/** First bytes of a file, one spelling or several. */
export const signature = (meaning: string) =>
  z
    .union([hexBytes, z.array(hexBytes).min(1).max(100)], { error: "must be hexadecimal first bytes in quotes, or a list of such texts" })
    .meta({ description: meaning });

/** As the engine reads it. */
export const signaturesOf = (input: string | readonly string[] | undefined): readonly string[] | undefined =>
  (typeof input === "string" ? [input] : input)?.map((bytes) => bytes.toLowerCase());
