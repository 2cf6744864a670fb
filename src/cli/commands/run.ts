import { parseDuration } from "../../domain/durations.ts";
import { isWakefulError, WakefulError } from "../../domain/errors.ts";
import { type DurationMs, days, seconds } from "../../domain/time.ts";
import { api } from "../../protocol/api/index.ts";
import { leaseNameRule } from "../../protocol/wire.ts";
import { type CommandCall, type CommandContext, type Options, textOption } from "../command.ts";
import type { RunCommandRequest } from "../host.ts";

export async function run({ host, connect, json }: CommandContext, { args, options }: CommandCall): Promise<number> {
  // Commander keeps the `--` when options are passed through.
  const argv = args[0] === "--" ? args.slice(1) : args;
  if (json)
    throw new WakefulError("bad_request", "`wakeful run` prints what its command prints, and has no JSON of its own; leave --json out.");
  if (argv.length === 0 || argv[0] === "") throw new WakefulError("bad_request", "Name the command to run: wakeful run -- make test");
  const lease = leaseOf(options);
  return host.runCommand({ argv, lease, daemon: await findDaemon({ connect, host }) });
}

/** The API's own bounds. */
const limits = { ttl: { min: seconds(1), max: days(30) }, wait: { min: 0, max: days(30) } };

function leaseOf(options: Options): RunCommandRequest["lease"] {
  const name = textOption(options, "lease");
  if (name === undefined) {
    if (options["ttl"] !== undefined || options["wait"] !== undefined)
      throw new WakefulError("bad_request", "--ttl and --wait belong to --lease.");
    return undefined;
  }
  if (!leaseNameRule.pattern.test(name)) throw new WakefulError("bad_request", `"${name}" cannot name a lease: ${leaseNameRule.text}.`);
  return { name, ttlMs: durationOption(options, "ttl", seconds(60)), waitMs: durationOption(options, "wait", 0) };
}

function durationOption(options: Options, name: "ttl" | "wait", otherwise: DurationMs): DurationMs {
  const text = textOption(options, name);
  if (text === undefined) return otherwise;
  const parsed = parseDuration(text);
  if (!parsed.ok) throw new WakefulError("bad_request", `--${name} ${text} ${parsed.rule}.`);
  const { min, max } = limits[name];
  if (parsed.value < min || parsed.value > max)
    throw new WakefulError("bad_request", `--${name} ${text} must be ${name === "ttl" ? "1s" : "0s"} to 30d.`);
  return parsed.value;
}

/** Only `daemon_unreachable` means that there is none: a daemon that refuses us must not be bypassed. */
async function findDaemon({ connect, host }: Pick<CommandContext, "connect" | "host">): Promise<RunCommandRequest["daemon"]> {
  try {
    const { client } = await connect();
    const { dataDir } = await client.call(api.getDaemon, {});
    return { client, dataDir };
  } catch (thrown) {
    if (isWakefulError(thrown) && thrown.code === "daemon_unreachable") {
      const { strangers } = thrown.details;
      if (Array.isArray(strangers) && strangers.length > 0)
        host.output.err(`wakeful: another project's daemon answers at ${strangers.join(", ")}; this project's is not running`);
      return undefined;
    }
    throw thrown;
  }
}
