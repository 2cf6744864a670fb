import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { hasCode, isWakefulError, messageOf } from "../../domain/errors.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { EndedBy } from "../../liveness/exit-policy.ts";

export type ForwardedSignal = "SIGTERM" | "SIGINT" | "SIGHUP";

export interface ForegroundOptions {
  /** The program and its arguments; there is no shell in between. */
  readonly argv: readonly string[];
  readonly cwd: string;
  /** One line for people, beside the command's own output. */
  readonly say: (line: string) => void;
  /** Returns a function that stops listening. */
  readonly onSignal: (signal: ForwardedSignal, listener: () => void) => () => void;
  /** Whether a terminal sends its interrupts to the command as well. Then they are not sent a second time. */
  readonly interactive: boolean;
  /** What the command is given as descriptors 0 to 2. Default: our own. */
  readonly stdio?: "inherit" | "ignore" | undefined;
}

/** How a command ended. `exitCode` is a shell's: 128 + n for signal n. */
export interface CommandEnded {
  readonly exitCode: number;
  readonly endedBy: NonNullable<EndedBy>;
}

/** The code of a shell for a program that does not exist or may not be run. */
const exitNotFound = 127;
const exitNotRunnable = 126;
/** The command itself, in our terminal. Signals meant for it are forwarded. */
export class ForegroundCommand {
  readonly #options: ForegroundOptions;
  readonly #env: Readonly<Record<string, string>>;
  #child: ChildProcess | undefined;
  #kill: NodeJS.Timeout | undefined;

  constructor(options: ForegroundOptions, env: Readonly<Record<string, string>>) {
    this.#options = options;
    this.#env = env;
  }

  /** Resolves to how it ended once the command has ended and `onStarted` has finished. */
  /**
   * @param lifePipe - a descriptor that it and what it starts hold open while they live. Undefined: there is none.
   */
  async run(onStarted: (pid: number) => Promise<void>, lifePipe: number | undefined): Promise<CommandEnded> {
    const { argv, cwd, stdio = "inherit", onSignal, interactive, say } = this.#options;
    const [program = "", ...args] = argv;
    const stopListening = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) =>
      onSignal(signal, () => {
        // A terminal signals all its processes already, and a second SIGINT means "now!" to many programs.
        if (!(interactive && signal === "SIGINT")) this.#child?.kill(signal);
      }),
    );
    let recorded: Promise<void> | undefined;
    try {
      return await new Promise<CommandEnded>((resolve) => {
        const child = spawn(program, args, {
          cwd,
          env: this.#env,
          stdio: [stdio, stdio, stdio, ...(lifePipe === undefined ? [] : [lifePipe])],
        });
        this.#child = child;
        // In this turn: the exit status has not been read yet, so that even a command that has ended is still seen.
        if (child.pid !== undefined) recorded = onStarted(child.pid);
        child.once("error", (thrown) => {
          if (child.pid !== undefined) return;
          say(`wakeful: ${program}: ${isMissing(thrown) ? "command not found" : messageOf(thrown)}`);
          resolve({ exitCode: isMissing(thrown) ? exitNotFound : exitNotRunnable, endedBy: "code" });
        });
        child.once("exit", (code, signal) => {
          if (signal === null) resolve({ exitCode: code ?? 0, endedBy: "code" });
          else resolve({ exitCode: 128 + constants.signals[signal], endedBy: "signal" });
        });
      });
    } finally {
      clearTimeout(this.#kill);
      for (const stop of stopListening) stop();
      await recorded;
    }
  }

  stop(graceMs: DurationMs): void {
    this.#child?.kill("SIGTERM");
    this.#kill = setTimeout(() => this.#child?.kill("SIGKILL"), graceMs);
  }
}

const isMissing = (thrown: unknown): boolean => !isWakefulError(thrown) && hasCode(thrown, "ENOENT");
