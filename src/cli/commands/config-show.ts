import { stringify } from "yaml";
import { withoutPassword } from "../../config/postgres-url.ts";
import { definitionView } from "../../http/views.ts";
import { loadConfiguration } from "../../pipelines/reading/load.ts";
import type { CommandContext } from "../command.ts";

/** Passwords and values of environments are masked: what is shown gets pasted into tickets. */
export async function run({ host, json, configRequest }: CommandContext): Promise<void> {
  const { config, pipelines } = await loadConfiguration(configRequest);
  const shown = {
    ...config,
    store: withoutPassword(config.store),
    pipelines: Object.fromEntries(pipelines.map((each) => [each.name, definitionView(each)])),
  };
  if (json) {
    host.output.out(`${JSON.stringify(shown)}\n`);
    return;
  }
  host.output.out(stringify(JSON.parse(JSON.stringify(shown))));
}
