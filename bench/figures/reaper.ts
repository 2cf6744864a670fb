import { type BenchOptions, type Figure, figure } from "../figure.ts";

const foundMs = { sqlite: 5, postgres: 10 } as const;
const settledMs = { sqlite: 3000, postgres: 5000 } as const;

export async function reaper({ quick, rounds = quick ? 1 : 3, say, runCell }: BenchOptions): Promise<readonly Figure[]> {
  const crowd = quick ? { jobs: 100_000, sessions: 100, dead: 10 } : { jobs: 1_000_000, sessions: 1000, dead: 10 };
  const figures: Figure[] = [];
  for (const engine of ["sqlite", "postgres"] as const) {
    const runs: Readonly<Record<string, number>>[] = [];
    for (let round = 1; round <= rounds; round++) {
      const run = await runCell("cells/reaper.ts", { ...crowd, engine });
      runs.push(run);
      say(`${engine}, round ${round}: ${JSON.stringify(run)}`);
    }
    const each = (key: string): number[] => runs.map((run) => run[key] ?? Number.NaN);
    figures.push(
      figure(
        `reaper, ${engine}: 10 dead of 1,000 sessions and their first 1,000 runs found`,
        "ms",
        { atMost: foundMs[engine] },
        each("foundMs"),
      ),
      figure(`reaper, ${engine}: job-reaper, nothing due`, "ms", { atMost: 5 }, each("idleJobReaperMs")),
      figure(`reaper, ${engine}: worker-reaper, nothing due`, "ms", { atMost: 5 }, each("idleWorkerReaperMs")),
      figure(`reaper, ${engine}: 10,000 runs of dead sessions settled`, "ms", { atMost: settledMs[engine] }, each("settledMs")),
    );
    // A server's statements block nobody's event loop.
    if (engine === "postgres") continue;
    figures.push(figure("reaper, sqlite: event-loop delay meanwhile, p95", "ms", { atMost: 20 }, each("loopDelayP95Ms")));
  }
  return figures;
}
