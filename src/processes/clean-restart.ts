import { spawn } from "node:child_process";
import { constants } from "node:os";
import { cleanEnvironment } from "./run-folder/run-marker.ts";

export interface CleanRestart {
  /** The program, its own arguments included, as it was called. */
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Returns the way to stop listening. */
  readonly onSignal: (signal: NodeJS.Signals, listener: () => void) => () => void;
  /** The parent of this process, asked anew each time. */
  readonly parentPid: () => number;
}

/** Those that people, shells and service managers send; the others keep their default meaning, or cannot be handled. */
const forwarded = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const satisfies readonly NodeJS.Signals[];

/**
 * Runs the program once more, without what names a run in its environment, and resolves to its exit code when it has ended. Started inside a
 * job, a daemon would else bear the job's marker, and with it all that it starts: it would be stopped as something that the job left behind.
 * The copy has a session of its own, so the signals of this process are passed on to it, as long as whoever started this one is there. This
 * one bears the marker still and is the job's: once the job has ended it is stopped as what that left behind, and goes alone.
 */
export async function restartClean({ argv: [file, ...args], env, onSignal, parentPid }: CleanRestart): Promise<number> {
  const startedBy = parentPid();
  const child = spawn(file, args, { detached: true, stdio: "inherit", env: cleanEnvironment(env) });
  const stopListening: (() => void)[] = [];
  try {
    return await new Promise<number>((resolve, reject) => {
      for (const signal of forwarded) {
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
