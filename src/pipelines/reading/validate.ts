import type { Finding, KeyPath } from "../../config/mistake.ts";
import { findingsOfZod } from "../../config/zod-findings.ts";
import type { PipelineDefinition } from "../definition.ts";
import { chainFindings, firstStageOf, nameFinding, readChain } from "./chain-rules.ts";
import type { ParsedGate } from "./gate.ts";
import { normalisePipeline, type PipelineDefaults } from "./normalise.ts";
import { type ParsedPipeline, type ParsedStage, pipelineSchema } from "./schema.ts";
import { pipelineRelations, sharedLimitFindings } from "./stage-relations.ts";

/** What variables set for a stage, over its declaration. */
export interface StageOverride {
  readonly attempts?: number | undefined;
  readonly concurrency?: number | undefined;
}

export interface ValidateOptions {
  readonly defaults: PipelineDefaults;
  readonly overrideOf?: ((stage: string) => StageOverride) | undefined;
}

export interface ValidatedPipelines {
  /** The pipelines without mistakes of their own. */
  readonly definitions: readonly PipelineDefinition[];
  /** Every mistake in any pipeline; paths begin with `pipelines`. */
  readonly findings: readonly Finding[];
  /** Keys that are allowed but do nothing. */
  readonly warnings: readonly Finding[];
}

/** Checks what stands under `pipelines`, from YAML and TypeScript alike: one validator, one meaning. Never throws. */
export function validatePipelines(raw: unknown, options: ValidateOptions): ValidatedPipelines {
  const path: KeyPath = ["pipelines"];
  if (raw === undefined || raw === null) return { definitions: [], findings: [], warnings: [] };
  if (typeof raw !== "object" || Array.isArray(raw))
    return { definitions: [], findings: [{ path, value: raw, rule: "must be a map of pipelines by name" }], warnings: [] };
  const judged = Object.entries(raw).map(([name, pipeline]) => validatePipeline(name, pipeline, options));
  const definitions = judged.flatMap(({ definition }) => (definition === undefined ? [] : [definition]));
  return {
    definitions,
    findings: [...judged.flatMap(({ findings }) => findings), ...sharedLimitFindings(definitions)],
    warnings: judged.flatMap(({ warnings }) => warnings),
  };
}

interface ValidatedPipeline {
  readonly definition: PipelineDefinition | undefined;
  readonly findings: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/** Checks one pipeline. `definition` is present when nothing is wrong with it. */
export function validatePipeline(name: string, raw: unknown, { defaults, overrideOf }: ValidateOptions): ValidatedPipeline {
  const path: KeyPath = ["pipelines", name];
  // Cyclic data, or values that are no data, would never end in the steps below.
  const unplain = plainDataFindings(raw, path);
  if (unplain.length > 0) return { definition: undefined, findings: [...nameFinding(name, path), ...unplain], warnings: [] };

  const chain = readChain(raw);
  const parsed = pipelineSchema.safeParse(raw);
  const structure = parsed.success
    ? []
    : findingsOfZod(parsed.error, pipelineSchema, raw).map((finding) => ({ ...finding, path: [...path, ...finding.path] }));
  const stagesAreMissing = structure.some(
    (finding) => finding.path.length === path.length || (finding.path.length === path.length + 1 && finding.path.at(-1) === "stages"),
  );
  const findings = [...nameFinding(name, path), ...structure, ...(stagesAreMissing ? [] : chainFindings(chain, path))];
  const first = firstStageOf(chain);
  if (!parsed.success || first === undefined || findings.length > 0) return { definition: undefined, findings, warnings: [] };

  const definition = normalisePipeline(withOverrides(parsed.data, overrideOf), { name, first, defaults });
  const idle = idleKeys(parsed.data, path);
  const relations = [...idle.mistakes, ...pipelineRelations(definition, path, defaults.finalizeGraceMs)];
  return { definition: relations.length > 0 ? undefined : definition, findings: relations, warnings: idle.warnings };
}

function withOverrides(parsed: ParsedPipeline, overrideOf: ValidateOptions["overrideOf"]): ParsedPipeline {
  if (overrideOf === undefined) return parsed;
  return {
    ...parsed,
    stages: Object.fromEntries(
      Object.entries(parsed.stages).map(([stage, input]) => {
        const { attempts = input.attempts, concurrency = input.concurrency } = overrideOf(stage);
        return [stage, { ...input, attempts, concurrency }];
      }),
    ),
  };
}

/** Keys that a stage declares and that do nothing there. */
interface IdleKeys {
  /** Their author relies on something that would not happen. */
  readonly mistakes: readonly Finding[];
  /** They cost nothing but their reader's time. */
  readonly warnings: readonly Finding[];
}

/** Keys that only a command obeys, on stages that run a handler. One finding for each key. */
function idleKeys(pipeline: ParsedPipeline, path: KeyPath): IdleKeys {
  const mistakes: Finding[] = [];
  const warnings: Finding[] = [];
  for (const [name, stage] of Object.entries(pipeline.stages)) {
    if (stage.run.handler === undefined) continue;
    const stagePath = [...path, "stages", name];
    mistakes.push(...mistakesOf(stage, stagePath));
    warnings.push(...warningsOf(stage, stagePath));
  }
  return { mistakes, warnings };
}

function mistakesOf({ heartbeat, exitCodes }: ParsedStage, path: KeyPath): Finding[] {
  const findings: Finding[] = [];
  if (heartbeat?.from === "output")
    findings.push({
      path: [...path, "heartbeat", "from"],
      value: heartbeat.from,
      rule: "has no effect on a handler stage, whose output nobody watches: call ctx.heartbeat(), and leave this out",
    });
  if (exitCodes !== undefined)
    findings.push({
      path: [...path, "exitCodes"],
      atKey: true,
      value: "exitCodes",
      rule: "has no effect on a handler stage, which ends by returning or throwing: leave it out",
    });
  return findings;
}

function warningsOf({ stdin, strays, env, cwd, gate }: ParsedStage, path: KeyPath): Finding[] {
  const findings: Finding[] = [];
  const idle = (key: string, why: string): void => {
    findings.push({ path: [...path, key], atKey: true, value: key, rule: `has no effect on a handler stage${why}` });
  };
  if (stdin !== undefined) idle("stdin", ": a handler gets its input as job.input");
  if (strays !== undefined) idle("strays", ": a handler starts no command of its own that could leave any");
  if (!hasCommand(gate)) {
    if (env !== undefined) idle("env", " without a gate command, the only program that would get it");
    if (cwd !== undefined) idle("cwd", " without a gate command, the only program that would start there");
  }
  return findings;
}

function hasCommand(gate: ParsedGate | undefined): boolean {
  if (gate === undefined) return false;
  return gate.command !== undefined || [...(gate.all ?? []), ...(gate.any ?? []), gate.not].some(hasCommand);
}

const depthMax = 64;
const valuesMax = 50_000;

/** Whatever in `value` JSON cannot hold: functions, classes, cycles, forbidden keys, unbounded depth and size. */
function plainDataFindings(value: unknown, path: KeyPath): readonly Finding[] {
  const findings: Finding[] = [];
  const open = new Set<object>();
  let values = 0;
  const visit = (member: unknown, at: KeyPath): void => {
    values += 1;
    if (values > valuesMax) return;
    const rule = ruleBrokenBy(member, at.length - path.length, open);
    if (rule !== undefined) {
      findings.push({ path: at, value: typeof member === "object" ? undefined : member, rule });
      return;
    }
    if (member === null || typeof member !== "object") return;
    open.add(member);
    for (const [key, below] of Object.entries(member)) {
      const here = [...at, Array.isArray(member) ? Number(key) : key];
      if (key === "__proto__") findings.push({ path: here, atKey: true, value: key, rule: "may not be used as a key" });
      else visit(below, here);
    }
    open.delete(member);
  };
  visit(value, path);
  if (values > valuesMax) findings.push({ path, value: undefined, rule: `has more than ${valuesMax} values` });
  return findings;
}

function ruleBrokenBy(member: unknown, depth: number, open: ReadonlySet<object>): string | undefined {
  switch (typeof member) {
    case "string":
    case "boolean":
    case "undefined":
      return undefined;
    case "number":
      return Number.isFinite(member) ? undefined : "must be a finite number";
    case "object": {
      if (member === null) return undefined;
      if (open.has(member)) return "holds itself";
      if (depth > depthMax) return `is nested deeper than ${depthMax} levels`;
      const prototype: unknown = Object.getPrototypeOf(member);
      const isPlain = Array.isArray(member) || prototype === null || prototype === Object.prototype;
      return isPlain ? undefined : "must be plain data: maps, lists, texts, numbers, true, false or null";
    }
    default:
      return `must be plain data, not a ${typeof member}`;
  }
}
