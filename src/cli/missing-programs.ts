import type { ConfigMistake } from "../config/mistake.ts";
import { directAccess } from "../files/foreign/path-operation.ts";
import { type GateDefinition, type PipelineDefinition, type StageDefinition, stageChain } from "../pipelines/definition.ts";
import type { Configuration } from "../pipelines/reading/load.ts";
import { commandPath } from "../processes/wrapper/environment.ts";
import { findProgram } from "../processes/wrapper/find-program.ts";

/**
 * Programs of commands and gates that are not in the PATH that they will have. Only names are looked for: a path may lie on a share that
 * does not answer, or be made by an earlier stage.
 */
export async function missingPrograms(
  { pipelines, config }: Pick<Configuration, "pipelines" | "config">,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<readonly ConfigMistake[]> {
  const looked = pipelines.flatMap(namedPrograms).map(async ({ program, stage, at }): Promise<ConfigMistake | undefined> => {
    const path = commandPath(environment, stage.env);
    const found = await findProgram({ program, cwd: "/", path }, directAccess);
    if (found.kind === "found") return undefined;
    return { source: config.file ?? "code", path: at, value: program, rule: `is not in PATH (${path}), so it cannot be started here` };
  });
  return (await Promise.all(looked)).filter((mistake) => mistake !== undefined);
}

interface NamedProgram {
  readonly program: string;
  readonly stage: StageDefinition;
  /** The key that names it. */
  readonly at: string;
}

function namedPrograms(pipeline: PipelineDefinition): readonly NamedProgram[] {
  const found = stageChain(pipeline).flatMap((stage) => {
    const at = `pipelines.${pipeline.name}.stages.${stage.name}`;
    const ofRun = stage.run.kind === "command" ? stage.run.argv.slice(0, 1) : [];
    const ofGate = stage.gate === undefined ? [] : programsOf(stage.gate);
    return [
      ...ofRun.map((program) => ({ program, stage, at: `${at}.run` })),
      ...ofGate.map((program) => ({ program, stage, at: `${at}.gate` })),
    ];
  });
  return found.filter(({ program }) => !program.includes("/"));
}

function programsOf(gate: GateDefinition): readonly string[] {
  switch (gate.kind) {
    case "command":
      return gate.argv.slice(0, 1);
    case "all":
    case "any":
      return gate.gates.flatMap(programsOf);
    case "not":
      return programsOf(gate.gate);
    case "file":
      return [];
  }
}
