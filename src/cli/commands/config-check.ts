import { describeMistake } from "../../config/mistake.ts";
import { readConfiguration } from "../../pipelines/reading/load.ts";
import type { CommandContext } from "../command.ts";
import { missingPrograms } from "../missing-programs.ts";

export async function run({ host, json, configRequest }: CommandContext): Promise<number> {
  const { configuration, mistakes, warnings: read } = await readConfiguration(configRequest);
  const warnings = configuration === undefined ? read : [...read, ...(await missingPrograms(configuration, host.env))];
  const valid = configuration !== undefined;
  if (json) host.output.out(`${JSON.stringify({ valid, mistakes, warnings })}\n`);
  else {
    for (const mistake of mistakes) host.output.err(describeMistake(mistake));
    for (const warning of warnings) host.output.err(`warning: ${describeMistake(warning)}`);
    if (valid) {
      const names = configuration.pipelines.map(({ name }) => name);
      host.output.out(`${configuration.config.file ?? "no file, defaults only"}: valid; pipelines: ${names.join(", ") || "none"}\n`);
    }
  }
  return valid ? 0 : 2;
}
