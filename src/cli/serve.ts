import type { CliHost, StoppableDaemon, StopSignal } from "./host.ts";

/** Ended, though not everything could be: the steps of the stop that did not end in time are named. */
export const lateStopExitCode = 9;

export interface ServeRequest {
  readonly daemon: StoppableDaemon;
  readonly host: Pick<CliHost, "onSignal" | "output">;
  /** Whether TERM waits for running work rather than leaving it for the next daemon. */
  readonly drain: boolean;
}

/**
 * Stays until the daemon has stopped. TERM leaves running commands for the next daemon (or waits for them), INT stops them, and whoever
 * is impatient says it twice.
 */
export async function serveUntilStopped({ daemon, host, drain }: ServeRequest): Promise<number> {
  const { output } = host;
  let stopping: Promise<void> | undefined;
  return new Promise((resolve) => {
    const stop = (signal: StopSignal): void => {
      if (stopping !== undefined) {
        output.err(signal === "SIGINT" ? "Stopping at once; what is left behind is taken up by the next start." : "Stopping already.");
        if (signal === "SIGINT") resolve(130);
        return;
      }
      const mode = signal === "SIGINT" ? "interrupt" : drain ? "drain" : "leave";
      output.err(
        {
          interrupt: "Stopping, running commands too (once more: at once).",
          drain: "Stopping when running work is done.",
          leave: "Stopping; running commands go on and are taken up by the next start.",
        }[mode],
      );
      stopping = daemon
        .stop(mode)
        .then(
          ({ late, failed }) => {
            for (const step of late) output.err(`The daemon stops without waiting any longer for this step: ${step}.`);
            for (const failure of failed) output.err(`The daemon did not stop in order: ${failure}`);
            return late.length > 0 ? lateStopExitCode : failed.length > 0 ? 1 : 0;
          },
          (thrown: unknown) => {
            output.err(`The daemon did not stop in order: ${String(thrown)}`);
            return 1;
          },
        )
        .then((code) => {
          for (const off of offs) off();
          resolve(code);
        });
    };
    const offs = (["SIGTERM", "SIGINT", "SIGHUP"] as const).map((signal) => host.onSignal(signal, () => stop(signal)));
  });
}
