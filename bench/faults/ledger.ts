import { closeSync, openSync, readSync, statSync } from "node:fs";

/** A line that a command or a handler appended itself: what really happened, whatever the store says. */
export interface LedgerEntry {
  /** `stopped`: a handler that gave up because it was asked to. */
  readonly is: "begin" | "end" | "stopped";
  readonly by: "command" | "handler";
  readonly job: number;
  readonly run: number;
  readonly attempt: number;
  readonly pid: number;
  /** Seconds since the machine started, to 10 ms: no set clock moves it. */
  readonly at: number;
}

/** Work that was really done for a run by one process. */
export interface Execution {
  readonly by: "command" | "handler";
  readonly job: number;
  readonly run: number;
  readonly pid: number;
  readonly beganAt: number;
  /** Undefined: it never said so. */
  readonly endedAt: number | undefined;
  /** It gave up because it was asked to. */
  readonly stopped: boolean;
}

/** The file that everybody appends to, each line with one write. */
export class Ledger {
  readonly path: string;
  readonly #entries: LedgerEntry[] = [];
  #readBytes = 0;
  #rest = "";

  constructor(path: string) {
    this.path = path;
  }

  /** All lines so far, in the order in which they were written. */
  read(): readonly LedgerEntry[] {
    const size = statSync(this.path).size;
    if (size > this.#readBytes) {
      const bytes = Buffer.alloc(size - this.#readBytes);
      const file = openSync(this.path, "r");
      try {
        readSync(file, bytes, 0, bytes.length, this.#readBytes);
      } finally {
        closeSync(file);
      }
      this.#readBytes = size;
      const lines = (this.#rest + bytes.toString()).split("\n");
      this.#rest = lines.pop() ?? "";
      this.#entries.push(...parseLedger(lines));
    }
    return this.#entries;
  }
}

function parseLedger(lines: readonly string[]): readonly LedgerEntry[] {
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as LedgerEntry);
}

/** Begins with their ends, oldest first. An end without a begin is an execution that ended before it began: it is never dropped. */
export function executionsOf(entries: readonly LedgerEntry[]): readonly Execution[] {
  const executions: Execution[] = [];
  for (const { is, by, job, run, pid, at } of entries) {
    if (is === "begin") {
      executions.push({ by, job, run, pid, beganAt: at, endedAt: undefined, stopped: false });
      continue;
    }
    const index = executions.findIndex((open) => open.run === run && open.pid === pid && open.endedAt === undefined);
    const open = executions[index] ?? { by, job, run, pid, beganAt: Number.POSITIVE_INFINITY, stopped: false };
    const ended: Execution = { ...open, endedAt: at, stopped: is === "stopped" };
    if (index >= 0) executions[index] = ended;
    else executions.push(ended);
  }
  return executions;
}
