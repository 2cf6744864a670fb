import { parseDuration } from "../../domain/durations.ts";
import { WakefulError } from "../../domain/errors.ts";
import { type DurationMs, seconds } from "../../domain/time.ts";
import { loadConfiguration } from "../../pipelines/load.ts";
import { type CommandCall, type CommandContext, type Options, textOption } from "../command.ts";

export async function run({ host, configRequest }: CommandContext, { args, options }: CommandCall): Promise<number> {
  // Commander keeps the `--` when options are passed through.
  const argv = args[0] === "--" ? args.slice(1) : args;
  if (argv.length === 0) throw new WakefulError("bad_request", "Name the command to run: wakeful run -- make test");
  const name = textOption(options, "lease");
  if (name === undefined && (options["ttl"] !== undefined || options["wait"] !== undefined))
    throw new WakefulError("bad_request", "--ttl and --wait belong to --lease.");
  const lease =
    name === undefined
      ? undefined
      : { name, ttlMs: durationOption(options, "ttl", seconds(60)), waitMs: durationOption(options, "wait", 0) };
  return host.runCommand({ argv, lease, configuration: await loadConfiguration(configRequest) });
}

function durationOption(options: Options, name: string, otherwise: DurationMs): DurationMs {
  const text = textOption(options, name);
  if (text === undefined) return otherwise;
  const parsed = parseDuration(text);
  if (!parsed.ok) throw new WakefulError("bad_request", `--${name} ${text} ${parsed.rule}.`);
  return parsed.value;
}
