import { spawn } from "node:child_process";
import { constants } from "node:os";
import { cleanEnvironment } from "./run-folder/run-marker.ts";

export interface CleanRestart {
  /** The program with its arguments, as it was called. */
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Returns a function that stops listening. */
  readonly onSignal: (signal: NodeJS.Signals, listener: () => void) => () => void;
  /** The parent of this process, read anew each time. */
  readonly parentPid: () => number;
}

/** The signals that people, shells and service managers send. The others keep their default meaning or cannot be handled. */
const forwarded = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const satisfies readonly NodeJS.Signals[];

/**
 * Runs the program again without a run's variables, and resolves to its exit code. A daemon started inside a job would pass on the job's
 * marker, and everything that it starts would be stopped as what the job left behind.
 */
export async function restartClean({ argv: [file, ...args], env, onSignal, parentPid }: CleanRestart): Promise<number> {
  const startedBy = parentPid();
  const child = spawn(file, args, { detached: true, stdio: "inherit", env: cleanEnvironment(env) });
  const stopListening: (() => void)[] = [];
  try {
    return await new Promise<number>((resolve, reject) => {
      for (const signal of forwarded) {
        // The copy has a session of its own and gets only these signals. This process bears the marker still: once its job has ended it is
        // stopped as a stray, alone.
        const hear = (): void => (parentPid() === startedBy ? void child.kill(signal) : resolve(0));
        stopListening.push(onSignal(signal, hear));
      }
      child.once("error", reject);
      child.once("exit", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const stop of stopListening) stop();
  }
}
