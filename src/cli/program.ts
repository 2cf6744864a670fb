import { Command, CommanderError } from "commander";
import { errorCodes } from "../domain/error-codes.ts";
import { isWakefulError, WakefulError } from "../domain/errors.ts";
import { withoutControls } from "../protocol/terminal-text.ts";
import { type CommandContext, type CommandSpec, type Options, textOption } from "./command.ts";
import { commands } from "./commands.ts";
import type { Connection } from "./connection.ts";
import type { CliHost } from "./host.ts";

/** For a call that cannot be understood, as in most programs. */
const usageExitCode = 2;

export interface CliRequest {
  /** Without node and script. */
  readonly argv: readonly string[];
  readonly host: CliHost;
  /** Instead of looking for a daemon, for tests. */
  readonly connect?: ((options: { readonly offline: boolean }) => Promise<Connection>) | undefined;
}

/** Runs one command line; resolves to its exit code and never rejects. */
export async function runCli({ argv, host, connect }: CliRequest): Promise<number> {
  let exitCode = 0;
  const json = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : undefined).includes("--json");
  const complaints: string[] = [];
  const complain = (text: string): void => void (json ? complaints.push(text) : host.output.err(text));
  const program = buildProgram({ host, complain }, async (spec, args, options) => {
    exitCode = await callCommand({ spec, args, options, host, connect });
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) return failed(thrown, { host, json });
    // Commander has printed its message; `--help` and `--version` come here too, with 0.
    if (thrown.exitCode === 0) return 0;
    if (json) failed(new WakefulError("bad_request", complaints.join("\n")), { host, json });
    return usageExitCode;
  }
}

function buildProgram(
  { host, complain }: { readonly host: CliHost; readonly complain: (text: string) => void },
  call: (spec: CommandSpec, args: readonly string[], options: Options) => Promise<void>,
): Command {
  const output = { writeOut: (text: string) => host.output.out(text), writeErr: (text: string) => complain(text.trimEnd()) };
  const program = new Command("wakeful")
    .description("A self-healing orchestrator.")
    .version(host.version)
    .exitOverride()
    .configureOutput(output)
    .enablePositionalOptions();
  program.showSuggestionAfterError().showHelpAfterError("(see --help)");
  for (const spec of commands) {
    const parent = parentOf(program, spec.name);
    const name = spec.name.split(" ").at(-1) ?? spec.name;
    const command = parent
      .command(`${name}${spec.args === undefined ? "" : ` ${spec.args}`}`)
      .description(spec.summary)
      .exitOverride()
      .configureOutput(output);
    withCommonOptions(command);
    for (const { flags, description } of spec.options ?? []) command.option(flags, description);
    if (spec.passThrough === true) command.passThroughOptions();
    command.action(async () => {
      await call(spec, command.args, command.opts());
    });
  }
  // Only for the program itself: its commands have taken over the shorter text.
  program.showHelpAfterError("(see --help; options stand behind the command, as in wakeful ls --json)");
  program.addHelpText(
    "after",
    "\nOptions of a command stand behind it; `wakeful COMMAND --help` lists them.\nExit codes: 0 done, 1 failed, 2 wrong call or configuration, 3 the doctor found problems, 4 not found,\n5 conflict, 6 not allowed, 7 unavailable, 8 store unusable. See docs/cli.md.",
  );
  return program;
}

function parentOf(program: Command, name: string): Command {
  const [group, rest] = name.split(" ");
  if (rest === undefined) return program;
  const known = program.commands.find((command) => command.name() === group);
  return (
    known ??
    program
      .command(group ?? "")
      .description(`${group} commands`)
      .exitOverride()
  );
}

function withCommonOptions(command: Command): void {
  command
    .option("--json", "answer in JSON")
    .option("--config <file>", "configuration file, instead of wakeful.yaml in the working directory")
    .option("--data-dir <directory>", "data directory, above the configuration's")
    .option("--url <url>", "the daemon's address, instead of the data directory's")
    .option("--no-color", "no colours");
}

interface Call {
  readonly spec: CommandSpec;
  readonly args: readonly string[];
  readonly options: Options;
  readonly host: CliHost;
  readonly connect: CliRequest["connect"];
}

async function callCommand({ spec, args, options, host: givenHost, connect }: Call): Promise<number> {
  const host = options["color"] === false ? { ...givenHost, output: withoutColour(givenHost.output) } : givenHost;
  const json = options["json"] === true;
  const open: Connection[] = [];
  const configRequest = {
    cwd: host.cwd,
    env: host.env,
    flags: { ...flagsOf(options) },
    file: textOption(options, "config"),
  };
  const context: CommandContext = {
    commands,
    host,
    json,
    configRequest,
    async connect({ offline = false } = {}) {
      const url = textOption(options, "url") ?? (host.env["WAKEFUL_URL"]?.trim() || host.env["ORCHESTRATOR_URL"]?.trim() || undefined);
      const connection =
        connect !== undefined
          ? await connect({ offline })
          : await (await import("./connect.ts")).connect({ host, configRequest, url, offline });
      open.push(connection);
      return connection;
    },
  };
  try {
    const module = await spec.load();
    return (await module.run(context, { args, options })) ?? 0;
  } catch (thrown) {
    return failed(thrown, { host, json });
  } finally {
    for (const connection of open) await connection.close();
  }
}

/** Flags that override the configuration, by its dotted keys. */
function flagsOf(options: Options): Readonly<Record<string, unknown>> {
  const keys: Readonly<Record<string, string>> = {
    dataDir: "dataDir",
    dev: "dev",
    listen: "http.listen",
    concurrency: "worker.concurrency",
    store: "store",
    logLevel: "log.level",
    logJson: "log.json",
  };
  return Object.fromEntries(
    Object.entries(keys).flatMap(([option, key]) => (options[option] === undefined ? [] : [[key, options[option]]])),
  );
}

function withoutColour(output: CliHost["output"]): CliHost["output"] {
  return { out: (text) => output.out(text), err: (line) => output.err(line), colour: false };
}

function failed(thrown: unknown, { host, json }: { readonly host: CliHost; readonly json: boolean }): number {
  const known = isWakefulError(thrown);
  const code = known ? thrown.code : "internal";
  const { exitCode, remedy } = errorCodes[code];
  if (json) {
    const error = known
      ? { code, message: thrown.message, details: thrown.details, correlationId: correlationOf(thrown.details) }
      : { code, message: String(thrown), details: {}, correlationId: "" };
    host.output.out(`${JSON.stringify({ error })}\n`);
  } else {
    host.output.err(withoutControls(known ? thrown.message : thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)));
    if (!known || code === "internal") host.output.err(remedy);
  }
  return exitCode;
}

const correlationOf = (details: Readonly<Record<string, unknown>>): string =>
  typeof details["correlationId"] === "string" ? details["correlationId"] : "";
