import { errorCodes } from "../domain/error-codes.ts";
import { commands } from "./commands.ts";

/** The exit codes that are no error's: those come from the table of error codes. */
const exitMeanings: Readonly<Record<number, string>> = {
  0: "done",
  1: "failed",
  2: "the call or the configuration is wrong; nothing was done",
  3: "`wakeful doctor` found problems",
  4: "there is no such thing",
  5: "the thing is not in a state that allows it",
  6: "not allowed",
  7: "unavailable now; the same call may succeed later",
  8: "the store cannot be used as it is",
  9: "`wakeful up` has stopped, but a step of its stop did not end in time; the log names it",
  130: "`wakeful up` was interrupted twice",
  143: "`wakeful up` ended itself by TERM at the end of its stop: a call to the file system, or a name lookup, does not return",
};

/** Options of every command; a test holds them to `--help`. */
export const commonOptions: readonly { readonly flags: string; readonly meaning: string }[] = [
  { flags: "--json", meaning: "answer in JSON, as the API gives it; errors too" },
  { flags: "--config <file>", meaning: "the configuration file, instead of the one in the working directory" },
  { flags: "--data-dir <directory>", meaning: "the data directory, above the configuration's" },
  {
    flags: "--url <url>",
    meaning: "the daemon's address (or `WAKEFUL_URL`, `ORCHESTRATOR_URL`), instead of the one of the data directory",
  },
  { flags: "--no-color", meaning: "no colours; there are none outside a terminal, or with `NO_COLOR`" },
];

/** `docs/cli.md`, made from the table of commands and the table of error codes; a test holds the file equal to this. */
export function cliDocument(): string {
  return `# Command line

\`wakeful COMMAND --help\` says the same of one command. This page is made from the table of commands in \`src/cli/commands.ts\`.

Things are named \`item:4\`, \`job:7\`, \`run:9\`, or an item by its pipeline and key: \`comics/batman\`. A command finds the daemon by the data
directory of the configuration, or by \`--url\` with \`WAKEFUL_TOKEN\`. Commands that only read work without a daemon too: then they read the
store's file, and standard error says so. What is printed holds no terminal control characters unless \`--raw\` asks for them.

Every command takes:

| option | meaning |
| --- | --- |
${commonOptions.map(({ flags, meaning }) => `| \`${flags}\` | ${meaning} |`).join("\n")}

## Commands

${commands.map(section).join("\n")}
## Exit codes

\`wakeful run\` ends with the exit code of its command. Otherwise:

| exit code | meaning | errors |
| --- | --- | --- |
${exitCodeRows().join("\n")}

[errors.md](errors.md) says what to do about each error.
`;
}

function section({ name, args, summary, options = [] }: (typeof commands)[number]): string {
  const rows = options.map(({ flags, description }) => `| \`${flags}\` | ${description.replaceAll("|", "\\|")} |`);
  return `### wakeful ${name}

\`wakeful ${name}${args === undefined ? "" : ` ${args}`}\`: ${summary}.
${rows.length === 0 ? "" : `\n| option | meaning |\n| --- | --- |\n${rows.join("\n")}\n`}`;
}

function exitCodeRows(): string[] {
  const errorsOf = new Map<number, string[]>();
  for (const [code, { exitCode }] of Object.entries(errorCodes)) errorsOf.set(exitCode, [...(errorsOf.get(exitCode) ?? []), `\`${code}\``]);
  const all = [...new Set([...Object.keys(exitMeanings).map(Number), ...errorsOf.keys()])].sort((a, b) => a - b);
  return all.map((exitCode) => {
    const meaning = exitMeanings[exitCode];
    if (meaning === undefined) throw new Error(`The exit code ${exitCode} has no meaning in docs/cli.md.`);
    return `| ${exitCode} | ${meaning} | ${(errorsOf.get(exitCode) ?? []).toSorted().join(", ")} |`;
  });
}
