import { ConfigError, type Finding, mistakeOf } from "../../config/mistake.ts";
import type { PipelineDefinition } from "../definition.ts";
import type { StageHandler } from "../handler.ts";
import type { CommandRunInput, HandlerRun, PipelineInput } from "./input.ts";
import { builtInDefaults } from "./normalise.ts";
import { validatePipeline } from "./validate.ts";

/** A pipeline written in TypeScript: its definition, and the functions that its stages name. */
export interface DefinedPipeline {
  readonly name: string;
  /** With the built-in defaults. A daemon fills in those of its own configuration, as for YAML. */
  readonly definition: PipelineDefinition;
  /** By the name that the definition gives them. */
  readonly handlers: ReadonlyMap<string, StageHandler>;
  /** The data that YAML would hold, with handlers by name. */
  readonly input: unknown;
}

/** Runs a program with arguments; there is no shell in between. */
export function command(argv: readonly string[]): CommandRunInput {
  return { command: argv };
}

/**
 * Runs a function inside a worker, or the handler that workers know by a name. A function is named after its pipeline and stage
 * (`comics.ocr`) unless `name` is given.
 */
export function handler(run: StageHandler | string, options: { readonly name?: string } = {}): HandlerRun {
  return { handler: run, ...options };
}

/**
 * Defines a pipeline in TypeScript. The same data in YAML gives an equal definition with an equal hash.
 * A `next` or `first` that names no stage is a type error.
 *
 * @example
 * definePipeline("comics", {
 *   stages: {
 *     prep: { run: command(["node", "steps/prep.js"]), heartbeat: { timeout: "600s" }, next: "ocr" },
 *     ocr: { run: handler(async (job, context) => recognise(job, context.signal)) },
 *   },
 * });
 * @throws {ConfigError} with every mistake at once.
 */
export function definePipeline<const Stage extends string>(name: string, input: PipelineInput<Stage>): DefinedPipeline {
  const handlers = new Map<string, StageHandler>();
  const findings: Finding[] = [];
  const given: unknown = input;
  const plain = isMap(given) && isMap(given["stages"]) ? { ...given, stages: plainStages(given["stages"]) } : given;
  const judged = validatePipeline(name, plain, { defaults: builtInDefaults });
  findings.push(...judged.findings);
  if (judged.definition === undefined || findings.length > 0) throw new ConfigError(findings.map((finding) => mistakeOf(finding, "code")));
  return Object.freeze({ name, definition: judged.definition, handlers, input: plain });

  function plainStages(declared: Readonly<Record<string, unknown>>): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(declared).map(([stage, each]) => [stage, isMap(each) ? { ...each, run: plainRun(each["run"], stage) } : each]),
    );
  }

  function plainRun(run: unknown, stage: string): unknown {
    if (!isMap(run) || typeof run["handler"] !== "function") return run;
    const { handler: given, name: chosen, ...rest } = run;
    const handlerName = typeof chosen === "string" ? chosen : `${name}.${stage}`;
    const known = handlers.get(handlerName);
    if (known !== undefined && known !== given) {
      findings.push({
        path: ["pipelines", name, "stages", stage, "run", "handler"],
        value: handlerName,
        rule: "names two different functions: give each its own name",
      });
    }
    handlers.set(handlerName, given as StageHandler);
    return { ...rest, handler: handlerName };
  }
}

/** Whether a value is what {@link definePipeline} returns, also when another copy of the package made it. */
export function isDefinedPipeline(value: unknown): value is DefinedPipeline {
  return isMap(value) && typeof value["name"] === "string" && value["handlers"] instanceof Map && "input" in value && "definition" in value;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
