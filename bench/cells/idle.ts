/** A daemon with a pipeline and nothing to do: when it is ready, what it holds in memory, and what it takes of a core. */
import { readdirSync, readFileSync } from "node:fs";
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
    const [before, began] = [processorTimes(pid), performance.now()];
    await pause(seconds * 1000);
    const tookMs = performance.now() - began;
    let usedMs = 0;
    for (const [thread, ms] of processorTimes(pid)) usedMs += ms - (before.get(thread) ?? 0);
    const corePercent = (100 * usedMs) / tookMs;
    answer({ readyAfterMs: daemon.readyAfterMs, residentMb: residentMb(pid), corePercent });
  } finally {
    await daemon.stop();
  }
});

/** Milliseconds on a processor of each thread. The process's own count has ticks of 10 ms, a tenth of what is measured. */
function processorTimes(pid: number): ReadonlyMap<string, number> {
  const threads = readdirSync(`/proc/${pid}/task`);
  return new Map(
    threads.map((thread) => [thread, Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e6]),
  );
}

function residentMb(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1]) / 1024;
}
