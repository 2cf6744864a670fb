import { z } from "zod";
import type { SizeText } from "../../domain/durations.ts";
import { days, seconds } from "../../domain/time.ts";
import type { GateDefinition } from "../definition.ts";
import { argv, duration, exactlyOne, notYet, plainText, refuseLater, signature, signaturesOf, size } from "./value-schemas.ts";

/** Exactly one of `file`, `command`, `all`, `any` and `not`; the keys from `minBytes` to `anyAge` go with `file`. */
export interface GateInput {
  readonly file?: string;
  readonly minBytes?: SizeText | number;
  /** ASCII. */
  readonly startsWith?: string;
  /** Hexadecimal, such as `ffd8ff`; one of a list. */
  readonly signature?: string | readonly string[];
  readonly anyAge?: boolean;
  readonly command?: readonly string[];
  readonly all?: readonly GateInput[];
  readonly any?: readonly GateInput[];
  readonly not?: GateInput;
}

/** A gate after validation: sizes are bytes. */
export interface ParsedGate {
  readonly file?: string | undefined;
  readonly minBytes?: number | undefined;
  readonly startsWith?: string | undefined;
  readonly signature?: string | readonly string[] | undefined;
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
const fileKeys = ["minBytes", "startsWith", "signature", "anyAge"] as const;

const gateShape = {
  file: plainText()
    .refine(staysInside, { error: "must stay inside the work directory: relative and without .." })
    .optional()
    .meta({ description: "A file inside the item's work directory." }),
  minBytes: size("Least size of the file.", { min: 0, max: 2 ** 50 }).optional(),
  startsWith: plainText()
    .refine(isAscii, { error: "must be ASCII; bytes are given in hexadecimal, as signature: ffd8ff" })
    .optional()
    .meta({ description: "First bytes of the file, as ASCII text." }),
  signature: signature("First bytes of the file, in hexadecimal; one of a list.").optional(),
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

/** A letter beyond ASCII is one byte for who writes it and two or more in the file. */
function isAscii(text: string): boolean {
  return !/[^ -~\t\r\n]/.test(text);
}

/** Whether a relative path cannot leave the folder it starts in. Backslashes count as separators: they are on Windows. */
function staysInside(path: string): boolean {
  return !/^([/\\]|[A-Za-z]:)/.test(path) && !path.split(/[/\\]/).includes("..");
}

/** The gate of a stage: settings of the whole reading stand beside it, not in its parts. */
export const rootGate = z.lazy(() =>
  z
    .strictObject({
      ...gateShape,
      patience: duration("How long an unreadable gate is read again before it counts as red.", { min: 0, max: days(30) }).optional(),
      timeout: duration("How long one reading may take.", { min: seconds(1), max: days(1) }).optional(),
    })
    .check(checkGate),
);

/** The gate as the engine reads it. */
export function gateOf(gate: ParsedGate): GateDefinition {
  if (gate.file !== undefined) {
    return {
      kind: "file",
      path: gate.file,
      minBytes: gate.minBytes,
      startsWith: gate.startsWith,
      signature: signaturesOf(gate.signature),
      anyAge: gate.anyAge ?? false,
    };
  }
  if (gate.command !== undefined) return { kind: "command", argv: gate.command };
  if (gate.all !== undefined) return { kind: "all", gates: gate.all.map(gateOf) };
  if (gate.any !== undefined) return { kind: "any", gates: gate.any.map(gateOf) };
  if (gate.not !== undefined) return { kind: "not", gate: gateOf(gate.not) };
  throw new TypeError("a gate without a kind passed validation");
}
