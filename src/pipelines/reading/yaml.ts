import { type ConfigMistake, inFileOrder, mistakeOf } from "../../config/mistake.ts";
import { readYaml } from "../../config/yaml-source.ts";
import type { PipelineDefinition } from "../definition.ts";
import { builtInDefaults } from "./normalise.ts";
import { type ValidateOptions, validatePipelines } from "./validate.ts";

export interface PipelinesReading {
  /** The pipelines without mistakes of their own. */
  readonly definitions: readonly PipelineDefinition[];
  readonly mistakes: readonly ConfigMistake[];
}

/** The pipelines of a YAML text, and all its mistakes, with line and column. Other sections are not read. Never throws. */
export function readPipelinesYaml(
  text: string,
  name = "wakeful.yaml",
  options: ValidateOptions = { defaults: builtInDefaults },
): PipelinesReading {
  const source = readYaml(text, name);
  const root = source.value;
  if (root !== null && (typeof root !== "object" || Array.isArray(root))) {
    return {
      definitions: [],
      mistakes: [...source.mistakes, mistakeOf({ path: [], value: root, rule: "must be a map of settings" }, name)],
    };
  }
  const raw = root !== null && "pipelines" in root ? root.pipelines : undefined;
  const { definitions, findings } = validatePipelines(raw, options);
  return { definitions, mistakes: inFileOrder([...source.mistakes, ...findings.map((finding) => source.locate(finding))]) };
}
