import { describeMistake } from "../../config/mistake.ts";
import { loadConfiguration } from "../../pipelines/reading/load.ts";
import { type CommandCall, type CommandContext, flagOption } from "../command.ts";
import { serveUntilStopped, startKeepingSignals } from "../serve.ts";

export async function run({ host, json, configRequest }: CommandContext, { options }: CommandCall): Promise<number> {
  // With --json programs read standard output, so the log's lines are JSON too, unless a flag says otherwise.
  const flags = json ? { "log.json": true, ...configRequest.flags } : configRequest.flags;
  const configuration = await loadConfiguration({ ...configRequest, flags });
  for (const warning of configuration.warnings) host.output.err(`warning: ${describeMistake(warning)}`);
  const { daemon, early } = await startKeepingSignals(
    () => host.startDaemon(configuration, { takeDataDir: flagOption(options, "takeDataDir") }),
    host,
  );
  // Before the address is printed: whoever reads it may stop the daemon at once.
  const ended = serveUntilStopped({ daemon, host, drain: flagOption(options, "drain"), early });
  const { url, socketPath } = daemon;
  if (json) host.output.out(`${JSON.stringify({ url, socketPath })}\n`);
  else host.output.err(`wakeful ${host.version} listens on ${url}${socketPath === null ? "" : ` and ${socketPath}`}`);
  return await ended;
}
