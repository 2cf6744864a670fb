import { hasCode } from "../domain/errors.ts";
import { isZombie, type ProcessRow } from "../processes/probe/process-stat.ts";
import { type ProcessTable, systemProcessTable } from "../processes/probe/process-table.ts";

/** Names one reading in the environment of all that it starts. Not the run's marker: a stage may let its strays live. */
export const gateMarkerVariable = "WAKEFUL_GATE_MARKER";

/** What is killed may have started more in the same moment. */
const roundsMax = 5;

/** All that one reading of a command gate has started. */
export class GateProcesses {
  readonly #leader: number;
  readonly #marker: string;
  readonly #table: ProcessTable;
  /** As it was just after its start. Older processes are none of it, and are not looked into. */
  readonly #row: ProcessRow | undefined;

  /** For a command that leads a process group of its own and bears `marker`. To be made when it was just started. */
  constructor(leader: number, marker: string, table = systemProcessTable()) {
    this.#leader = leader;
    this.#marker = marker;
    this.#table = table;
    const sight = table.look(leader);
    this.#row = sight.kind === "seen" ? sight.row : undefined;
  }

  /** Kills what is left: the command's group, and who left it but bears the marker. */
  kill(): void {
    killGroup(this.#leader);
    for (let round = 0; round < roundsMax; round += 1) {
      const left = this.#table.list().filter((row) => this.#isOurs(row));
      if (left.length === 0) return;
      for (const { pid } of left) this.#table.signal(pid, "SIGKILL");
    }
  }

  #isOurs(row: ProcessRow): boolean {
    if (isZombie(row)) return false;
    const ageMs = this.#table.ageMs(row);
    const ownMs = this.#row === undefined ? undefined : this.#table.ageMs(this.#row);
    if (ageMs !== undefined && ownMs !== undefined && ageMs > ownMs) return false;
    return this.#table.environmentValue(row.pid, gateMarkerVariable) === this.#marker;
  }
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch (thrown) {
    // Usual case: nothing of the group is left.
    if (!hasCode(thrown, "ESRCH")) throw thrown;
  }
}
