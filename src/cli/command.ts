import type { ConfigRequest } from "../config/load.ts";
import type { Connection } from "./connection.ts";
import type { CliHost } from "./host.ts";

/** A command as data. What it does is loaded when it is called, so that `--help` costs nothing. */
export interface CommandSpec {
  /** With its parent: `config check`. */
  readonly name: string;
  /** As commander writes them: `<what>`, `[what]`, `[what...]`. */
  readonly args?: string;
  readonly summary: string;
  readonly options?: readonly OptionSpec[];
  /** Everything after the first argument belongs to another command. */
  readonly passThrough?: boolean;
  readonly load: () => Promise<CommandModule>;
}

export interface OptionSpec {
  /** As commander writes them: `-f, --follow`, `--from <stage>`. */
  readonly flags: string;
  readonly description: string;
}

export interface CommandModule {
  /** Resolves to the exit code; nothing means 0. */
  run(context: CommandContext, call: CommandCall): Promise<number | void>;
}

export interface CommandCall {
  readonly args: readonly string[];
  readonly options: Options;
}

/** Options as they were given: texts, or true for a flag. */
export type Options = Readonly<Record<string, unknown>>;

export interface CommandContext {
  /** Every command, for those that list the others. */
  readonly commands: readonly CommandSpec[];
  readonly host: CliHost;
  /** `--json`: answers as the API gives them, for programs. */
  readonly json: boolean;
  /** How configuration is read under the flags that were given. */
  readonly configRequest: ConfigRequest;
  /**
   * A client of the daemon. With `offline`, one of the store file itself when no daemon answers; it reads only, and standard error says so.
   */
  readonly connect: (options?: { readonly offline?: boolean }) => Promise<Connection>;
}

export const textOption = (options: Options, name: string): string | undefined => {
  const value = options[name];
  return typeof value === "string" ? value : undefined;
};

export const flagOption = (options: Options, name: string): boolean => options[name] === true;
