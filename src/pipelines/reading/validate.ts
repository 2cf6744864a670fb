import type { Finding, KeyPath } from "../../config/mistake.ts";
import { findingsOfZod } from "../../config/zod-findings.ts";
import type { PipelineDefinition } from "../definition.ts";
import { chainFindings, firstStageOf, nameFinding, readChain } from "./chain-rules.ts";
import { idleKeys } from "./idle-keys.ts";
import { normalisePipeline, type PipelineDefaults } from "./normalise.ts";
import { plainDataFindings } from "./plain-data.ts";
import { type ParsedPipeline, pipelineSchema } from "./schema.ts";
import { pipelineRelations, sharedLimitFindings } from "./stage-relations.ts";

/** What variables say of a stage, above its declaration. */
export interface StageOverride {
  readonly attempts?: number;
  readonly concurrency?: number;
}

export interface ValidateOptions {
  readonly defaults: PipelineDefaults;
  readonly overrideOf?: (stage: string) => StageOverride;
}

export interface ValidatedPipelines {
  /** Those without a mistake of their own. */
  readonly definitions: readonly PipelineDefinition[];
  /** Everything that is wrong with any of them; paths begin with `pipelines`. */
  readonly findings: readonly Finding[];
  /** What is allowed but does nothing. */
  readonly warnings: readonly Finding[];
}

/** Judges what stands under `pipelines`, from YAML and TypeScript alike: one validator, one meaning. Never throws. */
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

/** Judges one pipeline. `definition` is there when nothing is wrong with it. */
export function validatePipeline(name: string, raw: unknown, { defaults, overrideOf }: ValidateOptions): ValidatedPipeline {
  const path: KeyPath = ["pipelines", name];
  // Data that holds itself, or no data at all, would not end in the steps below.
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
    stages: Object.fromEntries(Object.entries(parsed.stages).map(([stage, input]) => [stage, { ...input, ...overrideOf(stage) }])),
  };
}
