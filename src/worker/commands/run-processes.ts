import type { RunId } from "../../domain/ids.ts";
import { commandOnRecord, type ProcessIdentity } from "../../processes/probe/identity.ts";
import { isZombie } from "../../processes/probe/process-stat.ts";
import type { ProcessTable } from "../../processes/probe/process-table.ts";
import { findStrays, hereOnly, type RunTree } from "../../processes/stopping/strays.ts";
import { continueWrapper, livingWrapper } from "../../processes/wrapper/living-wrapper.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";

/** What is known of one run's processes: its wrapper, its command, and what they were seen to start. */
export class RunProcesses {
  wrapper: ProcessIdentity | undefined;
  /** The wrapper's own identity until the command is seen. */
  command: ProcessIdentity | undefined;
  readonly #deps: Pick<CommandRunDeps, "host" | "shielded">;
  readonly #runId: RunId;
  #seen: readonly ProcessIdentity[] = [];

  constructor(deps: Pick<CommandRunDeps, "host" | "shielded">, runId: RunId) {
    this.#deps = deps;
    this.#runId = runId;
  }

  /** Whether the command itself was seen to start. */
  get commandSeen(): boolean {
    return commandOnRecord({ process: this.command ?? null, wrapper: this.wrapper ?? null }) !== undefined;
  }

  /** Whether the process that the run depends on is known and dead. */
  get isGone(): boolean {
    const process = this.command ?? this.wrapper;
    if (process === undefined) return false;
    const sight = this.#deps.host.table.look(process.pid);
    return sight.kind === "absent" || (sight.kind === "seen" && (sight.row.startTime !== process.startTime || isZombie(sight.row)));
  }

  /** Whether the command is dead and its wrapper lives, which records how it ended. A stopped one is let go on. */
  awaitRecord(onContinued: (pid: number) => void): boolean {
    const { table } = this.#deps.host;
    if (!this.commandSeen || !this.isGone || this.wrapper === undefined || hereOnly(this.#deps.host.identity, this.wrapper) === undefined)
      return false;
    if (continueWrapper(table, this.wrapper)) onContinued(this.wrapper.pid);
    return livingWrapper(table, this.wrapper) !== undefined;
  }

  tree(): RunTree {
    const { host, shielded } = this.#deps;
    return {
      runId: this.#runId,
      host: host.identity,
      table: host.table,
      command: this.command,
      wrapper: this.wrapper,
      shielded: shielded(),
      seen: this.#seen,
    };
  }

  /** Remembers what the run has started, so that it is found even after it left its session and its environment. */
  remember(table: ProcessTable): void {
    if (this.command !== undefined) this.#seen = findStrays({ ...this.tree(), table });
  }
}
