import { type BenchOptions, type Figure, figure, plainFigure } from "../figure.ts";

export async function latency({ quick, rounds = quick ? 1 : 5, say, runCell }: BenchOptions): Promise<readonly Figure[]> {
  const runs: Readonly<Record<string, number>>[] = [];
  for (let round = 1; round <= rounds; round++) {
    const run = await runCell("cells/latency.ts", { jobs: quick ? 100 : 400 });
    runs.push(run);
    say(`round ${round}: ${JSON.stringify(run)}`);
  }
  const each = (key: string): number[] => runs.map((run) => run[key] ?? Number.NaN);
  return [
    figure("latency, enqueue to handler start, idle, p50", "ms", { atMost: 2 }, each("p50Ms")),
    figure("latency, enqueue to handler start, idle, p99", "ms", { atMost: 15 }, each("p99Ms")),
    plainFigure("latency, enqueue to handler start, idle, worst", "ms", each("maxMs")),
  ];
}
