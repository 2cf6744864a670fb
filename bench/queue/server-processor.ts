import { readdirSync, readFileSync } from "node:fs";

/** Fixed on Linux, whatever the kernel's own clock. */
export const ticksPerSecond = 100;

/**
 * Processor time so far of a server and all its processes, those that have ended included; `NaN` where there is no /proc.
 */
export function processorTicks(serverPid: number): number {
  const own = readStat(serverPid);
  if (own === undefined) return Number.NaN;
  let ticks = own.ticks + own.endedChildrenTicks;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(Number(name));
    if (stat?.parent === serverPid) ticks += stat.ticks;
  }
  return ticks;
}

interface Stat {
  readonly parent: number;
  readonly ticks: number;
  readonly endedChildrenTicks: number;
}

function readStat(pid: number): Stat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    // Ended, or another system.
    return undefined;
  }
}

/** A line of /proc/PID/stat. The program's name may have spaces and brackets of its own. */
export function parseStat(line: string): Stat {
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const field = (number: number): number => Number(fields[number - 3]);
  return { parent: field(4), ticks: field(14) + field(15), endedChildrenTicks: field(16) + field(17) };
}
