import type { Environment } from "../config/overrides.ts";
import type { Configuration } from "../pipelines/reading/load.ts";
import type { Client } from "../protocol/client.ts";
import type { HostClock } from "../runtime/clock.ts";

/** Where a command's texts go. */
export interface CliOutput {
  /** One piece of standard output, as it is. */
  out(text: string): void;
  /** One line of standard error. */
  err(line: string): void;
  /** Whether standard output may be coloured: it is a terminal, and colour is not turned off. */
  readonly colour: boolean;
}

export interface RunCommandRequest {
  readonly argv: readonly string[];
  /** Held while the command runs. Needs a daemon. */
  readonly lease: { readonly name: string; readonly ttlMs: number; readonly waitMs: number } | undefined;
  /** Absent: no daemon answers. */
  readonly daemon: { readonly client: Client; readonly dataDir: string } | undefined;
}

/** What the command line needs of a running daemon. */
export interface StoppableDaemon {
  readonly url: string;
  readonly socketPath: string | null;
  /**
   * `leave`: commands live on and are adopted by the next start. `drain`: waits for them. `interrupt`: stops them. Resolves to the steps
   * that did not end in time, and those that failed.
   */
  stop(mode: "leave" | "drain" | "interrupt"): Promise<{ readonly late: readonly string[]; readonly failed: readonly string[] }>;
  /** Kills what a stop under way is stopping. Resolves when it has stopped, or when the kill grace is over; never rejects. */
  kill(): Promise<void>;
}

export type StopSignal = "SIGTERM" | "SIGINT" | "SIGHUP";

/** What the command line needs of the process it runs in. */
export interface CliHost {
  readonly cwd: string;
  readonly env: Environment;
  readonly clock: HostClock;
  readonly output: CliOutput;
  /** Who calls, for the action log. */
  readonly user: string;
  readonly version: string;
  /** Resolves when it takes work. */
  readonly startDaemon: (configuration: Configuration, options: { readonly takeDataDir: boolean }) => Promise<StoppableDaemon>;
  /** Returns the function that stops listening. */
  readonly onSignal: (signal: StopSignal, listener: () => void) => () => void;
  /** `wakeful run -- CMD`; resolves to the command's exit code. */
  readonly runCommand: (request: RunCommandRequest) => Promise<number>;
}
