import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import { type HandlerHostOptions, HandlerHostProcess } from "./handler-host-process.ts";
import { SuspectTrials } from "./suspect-trials.ts";

/** Most processes for suspects at once, whatever the concurrency: each costs the memory of a Node process. */
const trialsAtOnceMax = 4;

/** All processes that run a daemon's handlers: the shared one, and those in which suspects are tried alone. */
export class HandlerHosts {
  readonly #shared: HandlerHostProcess;
  readonly #trials: SuspectTrials;

  constructor(options: HandlerHostOptions) {
    const { store, ender, tell, setup } = options;
    this.#trials = new SuspectTrials({
      store,
      ender,
      tell,
      atOnce: Math.min(trialsAtOnceMax, setup.concurrency),
      open: ({ verbs, onOver }) =>
        new HandlerHostProcess({
          ...options,
          setup: { ...setup, concurrency: 1, outstandingMax: 1 },
          beside: { verbs, alone: { onOver } },
        }),
    });
    this.#shared = new HandlerHostProcess({ ...options, beside: { verbs: this.#trials.verbsOfShared } });
  }

  /** Resolves when the shared process has been started. It takes work once its module has loaded. */
  async start(): Promise<void> {
    await this.#shared.start();
  }

  /** Plain tasks that the module offers. */
  tasks(): ReadonlySet<string> {
    return this.#shared.tasks();
  }

  /** Signallers must leave these and everything below them alone, and judges leave them to us. */
  identities(): readonly ProcessIdentity[] {
    return [...this.#shared.identities(), ...this.#trials.identities()];
  }

  /** Ends them all at once. */
  kill(): void {
    this.#shared.kill();
    this.#trials.kill();
  }

  /** See {@link HandlerHostProcess.stop}. */
  async stop(mode: "abort" | "drain"): Promise<void> {
    await Promise.all([this.#shared.stop(mode), this.#trials.stop(mode)]);
  }
}
