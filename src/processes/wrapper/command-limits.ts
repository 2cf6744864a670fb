import { InvalidCommandError } from "../errors.ts";
import type { WrapperTools } from "./wrapper-tools.ts";

/** What the kernel holds a command to. Each is optional; absent means what the worker itself has. Inherited by what it starts. */
export interface CommandLimits {
  /** Address space of each process, in bytes; at least 1 MiB. */
  readonly memoryBytes?: number;
  /** CPU time of each process, in seconds; at its end the kernel sends SIGXCPU. At least 1. */
  readonly cpuSeconds?: number;
  /** Added to the worker's niceness: 0 to 19; below 0 only as root. */
  readonly nice?: number;
  /** Open files of each process; at least 16. */
  readonly openFiles?: number;
}

function bounded(name: string, value: number | undefined, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new InvalidCommandError(`limits.${name} must be an integer from ${min} to ${max}, got ${value}`, { name, value, min, max });
  }
  return value;
}

const text = (value: number | undefined): string => (value === undefined ? "" : String(value));

/** Parameters 6 to 10 of the wrapper: nice, niceness, memory in KiB, CPU seconds, open files. Throws `InvalidCommandError`. */
export function limitParameters(limits: CommandLimits, tools: Pick<WrapperTools, "nice">): readonly string[] {
  const memoryBytes = bounded("memoryBytes", limits.memoryBytes, 1024 * 1024, Number.MAX_SAFE_INTEGER);
  return [
    tools.nice,
    text(bounded("nice", limits.nice, -20, 19)),
    text(memoryBytes === undefined ? undefined : Math.ceil(memoryBytes / 1024)),
    text(bounded("cpuSeconds", limits.cpuSeconds, 1, 2 ** 31)),
    text(bounded("openFiles", limits.openFiles, 16, 2 ** 20)),
  ];
}

const hasNul = (value: string): boolean => value.includes("\0");

/** Refuses what cannot be handed to a process. Throws `InvalidCommandError`; never puts a value into its message. */
export function checkCommand(argv: readonly string[], env: Readonly<Record<string, string>>): void {
  const program = argv[0];
  if (program === undefined || program === "") throw new InvalidCommandError("A command needs a program.");
  // bash would take it for an option of `exec`, and dash knows no `--` to end them.
  if (program.startsWith("-")) throw new InvalidCommandError("A command's program must not begin with a dash; write ./-name.", { program });
  const nulAt = argv.findIndex(hasNul);
  if (nulAt >= 0) throw new InvalidCommandError(`Argument ${nulAt} of the command holds a NUL character.`, { argument: nulAt });
  for (const [name, value] of Object.entries(env)) {
    if (hasNul(name) || name.includes("=") || hasNul(value)) {
      throw new InvalidCommandError("An environment variable holds a NUL character, or its name a '='.", { name });
    }
  }
}
