import { z } from "zod";

/** Parts that the schemas of all resources share. */

export const instant = z.int().meta({ description: "Epoch milliseconds of the store's clock." });
export const maybeInstant = instant.nullable();
export const durationMs = z.int().min(0).meta({ description: "Milliseconds." });
export const rowId = z.int().min(1);
/** Any JSON value: it has been parsed as JSON already, so nothing is left to check. */
export const anyJson = z.unknown().meta({ description: "Any JSON value." });

const wholeNumberText = /^(?:0|[1-9][0-9]{0,15})$/;

/** A whole number that travels in a path or query: plain digits only, because `Number("")`, `1e3` and `0x10` are numbers too. */
export function wholeNumber({ min, max }: { readonly min: number; readonly max: number }) {
  return z
    .string()
    .regex(wholeNumberText, "must be a whole number in plain digits")
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be ${min} to ${max}`);
}

export const pathId = wholeNumber({ min: 1, max: Number.MAX_SAFE_INTEGER });
export const idParams = z.strictObject({ id: pathId });
/** Without line breaks, and short enough to be shown. */
export const name = z.string().min(1).max(200);
export const nameParams = z.strictObject({ name });

/** A lease exists once somebody asks for it, so its name may hold only what people can read and type again. */
export const leaseNameRule = {
  pattern: /^(?!\s)[^\p{C}]{1,200}(?<!\s)$/u,
  text: "1 to 200 characters, none of them a control character, no blank at either end",
} as const;
export const leaseNameParams = z.strictObject({ name: z.string().regex(leaseNameRule.pattern, `must be ${leaseNameRule.text}`) });

export const queryFlag = z.enum(["true", "false"]).transform((value) => value === "true");

export const pageLimit = wholeNumber({ min: 1, max: 500 }).optional().meta({ description: "Most rows to answer; 50 unless told." });
export const defaultPageLimit = 50;

/** Several words in one query value: `a,b`. */
export function wordList<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z
    .string()
    .max(400)
    .transform((value) => value.split(","))
    .pipe(z.array(z.enum(words)).min(1));
}

export const jobStates = ["scheduled", "queued", "running", "done", "returned", "failed", "held", "cancelled"] as const;
export const itemStates = ["active", "paused", "done", "failed", "cancelled"] as const;
export const runStates = ["reserved", "started", "exited", "ended"] as const;
export const visitStates = ["open", "passed", "returned", "failed"] as const;
export const workerStates = ["live", "draining", "stopped", "dead"] as const;
export const leaseStates = ["free", "held"] as const;

/** Who did it, for the action log; the server adds nothing of its own. */
export const reasonText = z.string().min(1).max(500);

export const done = z.strictObject({ done: z.literal(true) });
