/** A daemon with a pipeline and nothing to do: when it is ready, what it holds in memory, and what it takes of a core. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { answer, inFolder, question } from "./answer.ts";
import { BenchDaemon, writeProject } from "./daemon.ts";

const { seconds } = question() as { seconds: number };

await inFolder(async (folder) => {
  writeProject(folder, "command");
  const daemon = await BenchDaemon.start(folder);
  try {
    const pid = daemon.process.pid ?? 0;
    await pause(3000);
    const [cpuBefore, began] = [cpuMs(pid), performance.now()];
    await pause(seconds * 1000);
    const corePercent = (100 * (cpuMs(pid) - cpuBefore)) / (performance.now() - began);
    answer({ readyAfterMs: daemon.readyAfterMs, residentMb: residentMb(pid), corePercent });
  } finally {
    await daemon.stop();
  }
});

/** User and system time; the kernel counts in ticks of 10 ms. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

function residentMb(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1]) / 1024;
}
