import { type BenchOptions, type Figure, figure, samplesOf } from "../figure.ts";

export async function idle({ quick, rounds = quick ? 1 : 3, say, runCell }: BenchOptions): Promise<readonly Figure[]> {
  const runs: Readonly<Record<string, number>>[] = [];
  for (let round = 1; round <= rounds; round++) {
    const run = await runCell("cells/idle.ts", { seconds: quick ? 3 : 20 });
    runs.push(run);
    say(`round ${round}: ${JSON.stringify(run)}`);
  }
  const helpMs = samplesOf(await runCell("cells/help.ts", { times: quick ? 3 : 11 }));
  const each = (key: string): number[] => runs.map((run) => run[key] ?? Number.NaN);
  return [
    figure("idle daemon, resident", "MB", { atMost: 120 }, each("residentMb")),
    figure("idle daemon, of a core", "%", { atMost: 1 }, each("corePercent")),
    figure("start of the process to /readyz", "ms", { atMost: 1500 }, each("readyAfterMs")),
    figure("wakeful --help", "ms", { atMost: 300 }, helpMs),
  ];
}
