import { z } from "zod";
import { logMaxBytesMin } from "../../domain/log-limits.ts";
import { days, seconds } from "../../domain/time.ts";
import { parseGlob } from "../glob.ts";
import { rootGate } from "./gate.ts";
import { argv, duration, exactlyOne, notYet, plainText, real, refuseLater, signature, size, whole } from "./value-schemas.ts";

/** Names of pipelines and stages; they become file names, queue names and variables. */
export const namePattern = "^[A-Za-z][A-Za-z0-9_-]{0,62}$";
export const nameRule = "must be a name of letters, digits, - and _ that begins with a letter and has at most 63";
const handlerPattern = /^[A-Za-z][A-Za-z0-9._/-]{0,127}$/;
const decade = days(3650);

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
        min: seconds(1),
        max: days(30),
      }).optional(),
      from: z
        .enum(["file", "output"])
        .optional()
        .meta({ description: "What counts as progress: heartbeat files and calls, or also output." }),
    })
    .optional()
    .meta({ description: "How the stage proves progress. Declared, even empty, it makes silence count." }),
  timeout: duration("The age at which a run is stopped.", { min: seconds(1), max: decade }).optional(),
  maxRunning: duration("The age at which a run is given up whatever the evidence.", { min: seconds(1), max: decade }).optional(),
  attempts: whole({ min: 1, max: 1000 }, "Attempts of one visit.").optional(),
  maxLosses: whole({ min: 1, max: 1000 }, "Losses after which the job is held; without it a loss spends an attempt.").optional(),
  onExhausted: z.enum(["fail", "hold"]).optional().meta({ description: "What becomes of the job when its attempts are spent." }),
  retry: z
    .strictObject({
      min: duration("The first delay.", { min: 0, max: days(7) }).optional(),
      max: duration("The longest delay.", { min: 0, max: days(7) }).optional(),
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
  gate: rootGate.optional().meta({ description: "What must hold after exit 0." }),
  finalizeGrace: duration("How long a run may take to be settled after its exit.", { min: 0, max: days(7) }).optional(),
  stdin: z
    .enum(["none", "input"])
    .optional()
    .meta({ description: "What the command reads as standard input: nothing, or the JSON of WAKEFUL_INPUT_FILE." }),
  strays: z.enum(["stop", "leave"]).optional().meta({ description: "What happens to processes that outlive their run." }),
  log: z
    .strictObject({ maxBytes: size("Size at which output is cut.", { min: logMaxBytesMin, max: 2 ** 40 }).optional() })
    .optional()
    .meta({ description: "The run's output." }),
  env: environment.optional().meta({ description: "Variables of the command; { file: path } reads a secret when it starts." }),
  cwd: plainText().optional().meta({ description: "Working directory; the folder of wakeful.yaml by default." }),
  fence: z.enum(["freeze", "kill", "none"]).optional().meta({
    description:
      "What a worker of another host that is cut off from the store is to do to the command. Kept, and without effect until there are such workers.",
  }),
  priority: whole({ min: -1000, max: 1000 }, "Lower is claimed first, as with the priority of processes.").optional(),
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
  minStable: duration("A file is taken when it has not changed for this long.", { min: 0, max: days(1) }).optional(),
  signature: signature("First bytes that a file must have, in hexadecimal.").optional(),
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
