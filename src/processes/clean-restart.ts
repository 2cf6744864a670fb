import { spawn } from "node:child_process";
import { constants } from "node:os";
import { cleanEnvironment } from "./run-marker.ts";

export interface CleanRestart {
  /** The program, its own arguments included, as it was called. */
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Returns the way to stop listening. */
  readonly onSignal: (signal: NodeJS.Signals, listener: () => void) => () => void;
}

/** Those that people, shells and service managers send; the others keep their default meaning, or cannot be handled. */
const forwarded = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const satisfies readonly NodeJS.Signals[];

/**
 * Runs the program once more, without what names a run in its environment, and resolves to its exit code when it has ended. Started inside a
 * job, a daemon would else bear the job's marker, and with it all that it starts: it would be stopped as something that the job left behind.
 * The copy has a session of its own, so the signals of this process are passed on to it.
 */
export async function restartClean({ argv: [file, ...args], env, onSignal }: CleanRestart): Promise<number> {
  const child = spawn(file, args, { detached: true, stdio: "inherit", env: cleanEnvironment(env) });
  const stopListening = forwarded.map((signal) => onSignal(signal, () => void child.kill(signal)));
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const stop of stopListening) stop();
  }
}
