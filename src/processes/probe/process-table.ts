import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { codeOf, messageOf } from "../../domain/errors.ts";
import { type ProcessRow, parseProcStat, parsePsLine } from "./process-stat.ts";

/** One look at a pid. `denied`: it exists, but is somebody else's and shows nothing. `unreadable`: no conclusion. */
export type ProcessSight =
  | { readonly kind: "seen"; readonly row: ProcessRow }
  | { readonly kind: "absent" }
  | { readonly kind: "denied" }
  | { readonly kind: "unreadable"; readonly error: string };

export type SignalOutcome = "sent" | "absent" | "denied";

/** The kernel's process table, as a port: the only way in which this folder sees or signals processes. */
export interface ProcessTable {
  look(pid: number): ProcessSight;
  /** The same for many pids, in their order; one call where the platform needs a program for it. */
  lookMany(pids: readonly number[]): readonly ProcessSight[];
  /** Every process that may be seen. A process that ends meanwhile is left out. */
  list(): readonly ProcessRow[];
  /** The value of a variable in the environment a process was executed with; `undefined` when absent or not readable. */
  environmentValue(pid: number, name: string): string | undefined;
  /** Age of a process in milliseconds, suspends included; `undefined` where the platform does not tell. */
  ageMs(row: ProcessRow): number | undefined;
  /** `pid` < 0 names a process group. Throws only on misuse. */
  signal(pid: number, signal: NodeJS.Signals): SignalOutcome;
}

/** The system calls of {@link linuxProcessTable}. Tests replace them to play pid reuse, hidden processes and refusals. */
export interface KernelCalls {
  readText(path: string): string;
  readDirectory(path: string): string[];
  kill(pid: number, signal: NodeJS.Signals | 0): void;
}

const realCalls: KernelCalls = {
  readText: (path) => readFileSync(path, "latin1"),
  readDirectory: (path) => readdirSync(path),
  kill: (pid, signal) => {
    process.kill(pid, signal);
  },
};

function sendSignal(calls: KernelCalls, pid: number, signal: NodeJS.Signals | 0): SignalOutcome {
  // 0, 1 and -1 mean our own group, init and every process: never one of a run.
  if (!Number.isInteger(pid) || pid === 0 || Math.abs(pid) === 1) throw new RangeError(`pid must name one process or group, got ${pid}`);
  try {
    calls.kill(pid, signal);
    return "sent";
  } catch (error) {
    const code = codeOf(error);
    if (code === "ESRCH") return "absent";
    if (code === "EPERM") return "denied";
    throw error;
  }
}

/** USER_HZ: what /proc prints times in; 100 on every architecture that Node runs on, whatever the kernel's own HZ. */
const ticksPerSecond = 100;

/** The table of Linux, out of /proc. Reads are of kernel memory (tens of microseconds), hence synchronous. */
export function linuxProcessTable(calls: KernelCalls = realCalls): ProcessTable {
  const readRow = (pid: number): ProcessRow | { readonly code: string | undefined; readonly error: string } => {
    try {
      return parseProcStat(calls.readText(`/proc/${pid}/stat`)) ?? { code: undefined, error: "cannot parse /proc stat" };
    } catch (error) {
      return { code: codeOf(error), error: messageOf(error) };
    }
  };

  const look = (pid: number): ProcessSight => {
    let failure = "";
    // Twice, because a process may start or end between the two reads. A third disagreement is unknown.
    for (let round = 0; round < 2; round += 1) {
      const row = readRow(pid);
      if ("pid" in row) return { kind: "seen", row };
      failure = row.error;
      // A missing entry is no proof: hidepid hides the processes of other users. Signal 0 decides.
      const outcome = pid === 1 ? "sent" : sendSignal(calls, pid, 0);
      if (outcome === "absent") return { kind: "absent" };
      if (outcome === "denied") return { kind: "denied" };
    }
    return { kind: "unreadable", error: failure };
  };

  return {
    look,
    lookMany: (pids) => pids.map(look),
    list() {
      const rows: ProcessRow[] = [];
      for (const name of calls.readDirectory("/proc")) {
        if (!/^\d+$/.test(name)) continue;
        const row = readRow(Number(name));
        if ("pid" in row) rows.push(row);
      }
      return rows;
    },
    environmentValue(pid, name) {
      let text: string;
      try {
        text = calls.readText(`/proc/${pid}/environ`);
      } catch {
        // It ended, or is another user's: it shows no marker, which proves nothing.
        return undefined;
      }
      const prefix = `${name}=`;
      return text
        .split("\0")
        .find((entry) => entry.startsWith(prefix))
        ?.slice(prefix.length);
    },
    ageMs(row) {
      const uptime = Number(calls.readText("/proc/uptime").split(" ")[0]);
      return uptime * 1000 - (Number(row.startTime) * 1000) / ticksPerSecond;
    },
    signal: (pid, signal) => sendSignal(calls, pid, signal),
  };
}

const psColumns = "pid=,ppid=,pgid=,stat=,lstart=";

/** macOS: the same answers from `ps`. No sessions, no environments and no ages; starts are known to the second. */
function darwinProcessTable(calls: Pick<KernelCalls, "kill"> = realCalls): ProcessTable {
  const run = (args: readonly string[]): readonly ProcessRow[] => {
    // `ps -p` exits 1 when one of the pids does not exist, with the others printed.
    const text = execFileSync("/bin/sh", ["-c", 'LC_ALL=C TZ=UTC0 /bin/ps "$@" || [ $? -eq 1 ]', "wakeful", ...args], {
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    });
    return text.split("\n").flatMap((line) => parsePsLine(line) ?? []);
  };
  const lookMany = (pids: readonly number[]): readonly ProcessSight[] => {
    if (pids.length === 0) return [];
    const rows = new Map(run(["-o", psColumns, "-p", pids.join(",")]).map((row) => [row.pid, row]));
    return pids.map((pid): ProcessSight => {
      const row = rows.get(pid);
      if (row !== undefined) return { kind: "seen", row };
      const outcome = pid === 1 ? "sent" : sendSignal({ ...realCalls, ...calls }, pid, 0);
      if (outcome === "absent") return { kind: "absent" };
      return outcome === "denied" ? { kind: "denied" } : { kind: "unreadable", error: "ps does not list it" };
    });
  };
  return {
    look: (pid) => lookMany([pid])[0] ?? { kind: "unreadable", error: "ps said nothing" },
    lookMany,
    list: () => run(["-A", "-o", psColumns]),
    environmentValue: () => undefined,
    ageMs: () => undefined,
    signal: (pid, signal) => sendSignal({ ...realCalls, ...calls }, pid, signal),
  };
}

/** The table of the platform this process runs on. */
export const systemProcessTable = (): ProcessTable => (process.platform === "darwin" ? darwinProcessTable() : linuxProcessTable());

/** The table with one listing for all callers: many runs are examined at the cost of one walk through the processes. Short-lived. */
export function tableSnapshotOf(table: ProcessTable): ProcessTable {
  let rows: ReturnType<ProcessTable["list"]> | undefined;
  const values = new Map<string, string | undefined>();
  return {
    ...table,
    list: () => {
      rows ??= table.list();
      return rows;
    },
    environmentValue: (pid, name) => {
      const key = `${pid} ${name}`;
      if (!values.has(key)) values.set(key, table.environmentValue(pid, name));
      return values.get(key);
    },
  };
}
