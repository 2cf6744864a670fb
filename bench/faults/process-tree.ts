import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

/** A process as /proc tells of it. */
export interface SeenProcess {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  /** Its arguments, each ended by a NUL. */
  readonly args: string;
}

export function allProcesses(): readonly SeenProcess[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processOf(Number(name)) ?? []);
}

/** Undefined: there is none. */
export function processOf(pid: number): SeenProcess | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { pid, parent: Number(parent), state, args: readFileSync(`/proc/${pid}/cmdline`, "utf8") };
  } catch {
    // It has ended.
    return undefined;
  }
}

export const childrenOf = (pid: number): readonly SeenProcess[] => allProcesses().filter(({ parent }) => parent === pid);

export const isAlive = (pid: number): boolean => !["Z", "X", undefined].includes(processOf(pid)?.state);

/** Whether this process belongs to the run: its environment says so. */
export function isOfRun(pid: number, run: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(`WAKEFUL_RUN_ID=${run}`);
  } catch {
    // It has ended.
    return false;
  }
}

/** False: there is no such process any more. */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    // It has ended.
    return false;
  }
}

/** Looks until `condition` holds; false when it does not within `ms`. */
export async function within(ms: number, condition: () => boolean | Promise<boolean>, everyMs = 10): Promise<boolean> {
  const deadline = performance.now() + ms;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= deadline) return false;
    await pause(everyMs);
  }
}

/** Seconds since the machine started, as the ledger has them. */
export const uptimeS = (): number => Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
