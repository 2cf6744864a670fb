import { z } from "zod";
import { durationPattern, formatDuration, formatSize, parseDuration, parseSize, sizePattern } from "../domain/durations.ts";
import { parseGlob } from "./glob.ts";

/** The JSON schema of what zod cannot describe by itself, because a transform reads it. */
export const inputJson = z.registry<Readonly<Record<string, unknown>>>();

/** Names of pipelines and stages; they become file names, queue names and variables. */
export const namePattern = "^[A-Za-z][A-Za-z0-9_-]{0,62}$";
export const nameRule = "must be a name of letters, digits, - and _ that begins with a letter and has at most 63";
const handlerPattern = /^[A-Za-z][A-Za-z0-9._/-]{0,127}$/;
const second = 1000;
const day = 86_400_000;
const decade = 3650 * day;

interface Range {
  readonly min: number;
  readonly max: number;
}

function duration(meaning: string, { min, max }: Range) {
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

function size(meaning: string, { min, max }: Range) {
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

const whole = ({ min, max }: Range, meaning: string) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error }).meta({ description: meaning });
};
const real = ({ min, max }: Range, meaning: string) => {
  const error = `must be a number from ${min} to ${max}`;
  return z.number({ error }).min(min, { error }).max(max, { error }).meta({ description: meaning });
};
const plainText = (rule = "must be a text that is not empty; numbers and yes/no words need quotes") =>
  z
    .string({ error: rule })
    .min(1, { error: rule })
    .max(4096, { error: "has more than 4096 letters" })
    .refine((value) => !value.includes("\0"), { error: "may not hold a NUL" });

const argv = z
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

const notYet = (what: string) =>
  z
    .unknown()
    .optional()
    .meta({ description: `${what} Not available yet.` });

/** Refuses an object that has none or several of `keys`. Unknown keys are reported by themselves, before this is asked. */
function exactlyOne(value: Readonly<Record<string, unknown>>, keys: readonly string[], context: z.core.ParsePayload): void {
  const present = keys.filter((key) => value[key] !== undefined);
  // A key that is unknown was probably meant to be one of these, and is reported already.
  if (present.length === 1 || (present.length === 0 && context.issues.length > 0)) return;
  const found = present.length === 0 ? "none is there" : `${present.join(" and ")} are there`;
  context.issues.push({ code: "custom", message: `must have exactly one of ${keys.join(", ")}; ${found}`, input: value });
}

function refuseLater(value: Readonly<Record<string, unknown>>, keys: readonly string[], what: string, context: z.core.ParsePayload): void {
  for (const key of keys.filter((each) => value[each] !== undefined)) {
    context.issues.push({ code: "custom", message: `is not available yet: ${what}`, input: value[key], path: [key] });
  }
}

const run = z
  .strictObject({
    command: argv.optional().meta({ description: "Program and arguments, started without a shell." }),
    handler: z
      .string({ error: "must be the name of a handler" })
      .regex(handlerPattern, { error: "must be a handler's name: letters, digits and . _ / - after a letter, at most 128" })
      .optional()
      .meta({ description: "Name of a handler that workers bring along." }),
    http: notYet("A service that is asked over HTTP."),
  })
  .check((context) => {
    refuseLater(context.value, ["http"], "run a command or a handler that calls the service", context);
    if (context.value.http === undefined) exactlyOne(context.value, ["command", "handler"], context);
  })
  .meta({ description: "How the stage runs: a command or a handler." });

/** A gate after validation: sizes are bytes. */
export interface ParsedGate {
  readonly file?: string | undefined;
  readonly minBytes?: number | undefined;
  readonly startsWith?: string | undefined;
  readonly anyAge?: boolean | undefined;
  readonly command?: readonly string[] | undefined;
  readonly all?: readonly ParsedGate[] | undefined;
  readonly any?: readonly ParsedGate[] | undefined;
  readonly not?: ParsedGate | undefined;
}

const gate: z.ZodType<ParsedGate> = z
  .lazy(() => z.strictObject(gateShape).check(checkGate))
  .meta({ id: "gate", description: "A read-only check of what a stage made." });
const gates = z
  .array(gate, { error: "must be a list of gates" })
  .min(1, { error: "must name at least one gate" })
  .max(100, { error: "has more than 100 gates" });
const gateKinds = ["file", "command", "all", "any", "not"] as const;
const fileKeys = ["minBytes", "startsWith", "anyAge"] as const;

const gateShape = {
  file: plainText()
    .refine(staysInside, { error: "must stay inside the work directory: relative and without .." })
    .optional()
    .meta({ description: "A file inside the item's work directory." }),
  minBytes: size("Least size of the file.", { min: 0, max: 2 ** 50 }).optional(),
  startsWith: plainText().optional().meta({ description: "First bytes of the file, as UTF-8." }),
  anyAge: z.boolean({ error: "must be true or false" }).optional().meta({ description: "Also count a file that is older than the run." }),
  command: argv.optional().meta({ description: "A command whose exit 0 is green." }),
  all: gates.optional().meta({ description: "Green when every one is." }),
  any: gates.optional().meta({ description: "Green when one is." }),
  not: gate.optional().meta({ description: "Green when it is red." }),
  handler: notYet("A handler as a gate."),
  http: notYet("A service as a gate."),
};

function checkGate(context: z.core.ParsePayload<Readonly<Record<string, unknown>>>): void {
  const value = context.value;
  refuseLater(value, ["handler", "http"], "use a command gate", context);
  if (value["handler"] === undefined && value["http"] === undefined) exactlyOne(value, gateKinds, context);
  for (const key of fileKeys.filter((each) => value["file"] === undefined && value[each] !== undefined)) {
    context.issues.push({ code: "custom", message: "goes with a file gate only", input: value[key], path: [key] });
  }
}

/** Whether a relative path cannot leave the folder it starts in. Backslashes count as separators: they are on Windows. */
export function staysInside(path: string): boolean {
  return !/^([/\\]|[A-Za-z]:)/.test(path) && !path.split(/[/\\]/).includes("..");
}

const exitCodeList = z
  .array(whole({ min: 1, max: 255 }, "An exit code."), { error: "must be a list of exit codes from 1 to 255" })
  .max(255)
  .optional();

const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;
const environment = z
  .record(
    z.string(),
    z.union([plainValue(), z.strictObject({ file: plainText() })], {
      error: "must be a text, or { file: path }: put numbers and yes/no words in quotes",
    }),
  )
  .check((context) => {
    for (const name of Object.keys(context.value)) {
      const rule = !variableName.test(name)
        ? "must be a variable's name: letters, digits and _"
        : name.startsWith("WAKEFUL_")
          ? "is given by Wakeful itself"
          : undefined;
      if (rule !== undefined) context.issues.push({ code: "custom", message: rule, input: context.value[name], path: [name] });
    }
  });

function plainValue() {
  return z
    .string()
    .max(32_768)
    .refine((value) => !value.includes("\0"), { error: "may not hold a NUL" });
}

const stageShape = {
  run,
  heartbeat: z
    .strictObject({
      timeout: duration("A run without progress for longer is hung; twice this for one that never beat.", {
        min: second,
        max: 30 * day,
      }).optional(),
      from: z
        .enum(["file", "output"])
        .optional()
        .meta({ description: "What counts as progress: heartbeat files and calls, or also output." }),
    })
    .optional()
    .meta({ description: "How the stage proves progress. Declared, even empty, it makes silence count." }),
  timeout: duration("The age at which a run is stopped.", { min: second, max: decade }).optional(),
  maxRunning: duration("The age at which a run is given up whatever the evidence.", { min: second, max: decade }).optional(),
  attempts: whole({ min: 1, max: 1000 }, "Attempts of one visit.").optional(),
  maxLosses: whole({ min: 1, max: 1000 }, "Losses after which the job is held; without it a loss spends an attempt.").optional(),
  onExhausted: z.enum(["fail", "hold"]).optional().meta({ description: "What becomes of the job when its attempts are spent." }),
  retry: z
    .strictObject({
      min: duration("The first delay.", { min: 0, max: 7 * day }).optional(),
      max: duration("The longest delay.", { min: 0, max: 7 * day }).optional(),
      factor: real({ min: 1, max: 100 }, "Each delay is this many times the one before.").optional(),
    })
    .optional()
    .meta({ description: "The delay before another attempt." }),
  exitCodes: z
    .strictObject({ retryOn: exitCodeList, failOn: exitCodeList, holdOn: exitCodeList })
    .optional()
    .meta({ description: "What exit codes mean; others follow the retry contract." }),
  concurrency: whole({ min: 1, max: 100_000 }, "Runs at once over all workers.").optional(),
  concurrencyKey: plainText().max(200).optional().meta({ description: "Stages with one key share one limit." }),
  gate: z
    .lazy(() =>
      z
        .strictObject({
          ...gateShape,
          patience: duration("How long an unreadable gate is read again before it counts as red.", { min: 0, max: 30 * day }).optional(),
          timeout: duration("How long one reading may take.", { min: second, max: day }).optional(),
        })
        .check(checkGate),
    )
    .optional()
    .meta({ description: "What must hold after exit 0." }),
  finalizeGrace: duration("How long a run may take to be settled after its exit.", { min: 0, max: 7 * day }).optional(),
  strays: z.enum(["stop", "leave"]).optional().meta({ description: "What happens to processes that outlive their run." }),
  log: z
    .strictObject({ maxBytes: size("Size at which output is cut.", { min: 1024, max: 2 ** 40 }).optional() })
    .optional()
    .meta({ description: "The run's output." }),
  env: environment.optional().meta({ description: "Variables of the command; { file: path } reads a secret when it starts." }),
  cwd: plainText().optional().meta({ description: "Working directory; the folder of wakeful.yaml by default." }),
  fence: z.enum(["freeze", "kill", "none"]).optional().meta({ description: "What a worker cut off from the store does to the command." }),
  priority: whole({ min: -1000, max: 1000 }, "Higher is claimed first.").optional(),
  labels: z
    .strictObject({ agent: plainText().max(200).optional(), repo: plainText().max(200).optional() })
    .optional()
    .meta({ description: "Names for reports and alerts." }),
  next: z
    .string({ error: "must be the name of a stage" })
    .nullable()
    .optional()
    .meta({ description: "The stage that follows; none ends the pipeline." }),
};

const folder = (meaning: string) => plainText().optional().meta({ description: meaning });
const hexBytes = z
  .string({ error: "must be a text of hexadecimal digits: put it in quotes" })
  .regex(/^([0-9a-fA-F]{2}){1,64}$/, { error: "must be 1 to 64 bytes as pairs of hexadecimal digits, such as 504b0304" });
const globText = z.string({ error: "must be a glob such as *.cbz" }).check((context) => {
  const parsed = parseGlob(context.value);
  if (!parsed.ok) context.issues.push({ code: "custom", message: parsed.rule, input: context.value });
});

const intakeShape = {
  watch: plainText().meta({ description: "The folder to watch." }),
  match: z
    .array(globText, { error: "must be a list of globs" })
    .min(1, { error: "must name at least one glob" })
    .max(100)
    .optional()
    .meta({ description: "Globs over file names." }),
  profile: z.unknown().optional().meta({ description: "Any data; part of the item key beside the content's hash." }),
  maxBytes: size("Larger files are rejected.", { min: 1, max: 2 ** 50 }).optional(),
  minStable: duration("A file is taken when it has not changed for this long.", { min: 0, max: day }).optional(),
  signature: z
    .union([hexBytes, z.array(hexBytes).min(1).max(100)], { error: "must be hexadecimal first bytes in quotes, or a list of such texts" })
    .optional()
    .meta({ description: "First bytes that a file must have, in hexadecimal." }),
  diskFreeFactor: real({ min: 0, max: 1000 }, "Free disk must be this many times the file.").optional(),
  errorDir: folder("Where rejected files go; error beside the watched folder by default."),
  archiveDir: folder("Where finished files go; archive beside the watched folder by default."),
  duplicates: z
    .enum(["hold", "discard", "use_existing", "reprocess"])
    .optional()
    .meta({ description: "What happens to a file that is known already." }),
};

export const stageSchema = z.strictObject(stageShape);
export const pipelineSchema = z.strictObject({
  intake: z.strictObject(intakeShape).optional().meta({ description: "A watched folder whose files become items." }),
  first: z.string({ error: "must be the name of a stage" }).optional().meta({ description: "The stage that a new item enters." }),
  stages: z.record(z.string().meta({ pattern: namePattern }), stageSchema).meta({ description: "The stages by name." }),
});
/** What stands under `pipelines`. */
export const pipelinesSchema = z
  .record(z.string().meta({ pattern: namePattern }), pipelineSchema)
  .meta({ description: "The pipelines by name." });

export type ParsedPipeline = z.output<typeof pipelineSchema>;
export type ParsedStage = z.output<typeof stageSchema>;
export type ParsedIntake = NonNullable<ParsedPipeline["intake"]>;
