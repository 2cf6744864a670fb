import type { CliHost, StoppableDaemon, StopSignal } from "./host.ts";

/** Stopped, but some steps did not end in time; they are named on standard error. */
const lateStopExitCode = 9;

const impatientExitCode = 130;

export interface ServeRequest {
  readonly daemon: StoppableDaemon;
  readonly host: Pick<CliHost, "onSignal" | "output">;
  /** Whether TERM waits for running work rather than leaving it for the next daemon. */
  readonly drain: boolean;
  /** What arrived while it started. */
  readonly early?: StopSignal | undefined;
}

const stopSignals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/**
 * Starts it, and remembers the first signal to stop that arrives meanwhile: one that ended the process half-way through a start would leave
 * what was started already. The second one ends it.
 */
export async function startKeepingSignals(
  start: () => Promise<StoppableDaemon>,
  { onSignal, output }: Pick<CliHost, "onSignal" | "output">,
): Promise<Pick<ServeRequest, "daemon" | "early">> {
  let early: StopSignal | undefined;
  const offs = stopSignals.map((signal) =>
    onSignal(signal, () => {
      early = signal;
      output.err("Stopping as soon as the start is over (once more: end at once).");
      // Without a listener the next one ends the process.
      for (const off of offs) off();
    }),
  );
  try {
    const daemon = await start();
    return { daemon, early };
  } finally {
    for (const off of offs) off();
  }
}

/**
 * Stays until the daemon has stopped. TERM leaves running commands for the next daemon (or waits for them), INT stops them, a second
 * one kills what is being stopped, and the next one leaves whatever is left.
 */
export async function serveUntilStopped({ daemon, host, drain, early }: ServeRequest): Promise<number> {
  const { output } = host;
  let mode: "interrupt" | "drain" | "leave" | undefined;
  let killing = false;
  return new Promise((resolve) => {
    const hurry = (): void => {
      if (mode === "interrupt" && !killing) {
        killing = true;
        output.err("Killing what is being stopped (once more: leave at once).");
        void daemon.kill().then(() => resolve(impatientExitCode));
        return;
      }
      output.err("Leaving at once; what is left behind is taken up by the next start.");
      resolve(impatientExitCode);
    };
    const stop = (signal: StopSignal): void => {
      if (mode !== undefined) {
        if (signal === "SIGINT") hurry();
        else output.err("Stopping already.");
        return;
      }
      mode = signal === "SIGINT" ? "interrupt" : drain ? "drain" : "leave";
      output.err(
        {
          interrupt: "Stopping, running commands too (once more: kill them).",
          drain: "Stopping when running work is done.",
          leave: "Stopping; running commands go on and are taken up by the next start.",
        }[mode],
      );
      void daemon
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
          resolve(killing ? impatientExitCode : code);
        });
    };
    const offs = stopSignals.map((signal) => host.onSignal(signal, () => stop(signal)));
    if (early !== undefined) stop(early);
  });
}
