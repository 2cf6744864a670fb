import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { runCell } from "../cell.ts";
import { wakeful } from "../cells/daemon.ts";
import { type BenchOptions, type Figure, figure, unmeasured } from "../figure.ts";

export async function idle({ quick, say }: BenchOptions): Promise<readonly Figure[]> {
  if (!existsSync(wakeful)) return [unmeasured("idle", "", "", "dist/bin/wakeful.js is missing: run npm run build first")];
  const runs: Readonly<Record<string, number>>[] = [];
  for (let round = 1; round <= (quick ? 1 : 3); round++) {
    const run = await runCell("./cells/idle.ts", { seconds: quick ? 3 : 20 });
    runs.push(run);
    say(`round ${round}: ${JSON.stringify(run)}`);
  }
  const helpMs: number[] = [];
  for (let at = 0; at < (quick ? 3 : 11); at++) {
    const began = performance.now();
    const { status, stderr } = spawnSync(process.execPath, [wakeful, "--help"], { encoding: "utf8" });
    if (status !== 0) throw new Error(`wakeful --help ended with ${String(status)}: ${stderr}`);
    helpMs.push(performance.now() - began);
  }
  const each = (key: string): number[] => runs.map((run) => run[key] ?? Number.NaN);
  return [
    figure("idle daemon, resident", "MB", { atMost: 120 }, each("residentMb")),
    figure("idle daemon, of a core", "%", { atMost: 1 }, each("corePercent")),
    figure("start of the process to /readyz", "ms", { atMost: 1500 }, each("readyAfterMs")),
    figure("wakeful --help", "ms", { atMost: 300 }, helpMs),
  ];
}
