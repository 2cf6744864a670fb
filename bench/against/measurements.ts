import type { BenchName } from "../arguments.ts";
import { embeddedCells } from "../figures/embedded.ts";
import type { Measure } from "./comparison.ts";

/** One run of a cell on each side, and the figures that its answer gives. */
export interface Measurement {
  readonly bench: BenchName;
  /** For progress. */
  readonly what: string;
  readonly cell: string;
  readonly question: object;
  /** Whose `bench/` has the cell: the tree's for both builds, or each side's own if the cell needs what no build exports. */
  readonly cellOf: "tree" | "each side";
  readonly figures: readonly (Measure & { readonly key: string })[];
  /** Values that the answer must have, else the run counts as failed. */
  readonly exactly?: Readonly<Record<string, number>> | undefined;
}

const slower = 0.07;
const moreProcessor = 0.04;

/** Smaller than those of a run without `--against`: eleven rounds of everything, twice, take half an hour. */
export const measurements: readonly Measurement[] = [
  ...embeddedCells.map(
    ({ key: name, concurrency, outstandingMax }): Measurement => ({
      bench: "embedded",
      what: name,
      cell: "cells/embedded.ts",
      question: { jobs: outstandingMax === 10 ? 10_000 : 40_000, concurrency, outstandingMax },
      cellOf: "tree",
      figures: [
        { key: "perSecond", name: `embedded, claim to settled, ${name}`, unit: "jobs/s", better: "higher", worseMax: slower },
        { key: "cpuUsPerJob", name: `embedded, processor time of a job, ${name}`, unit: "us", better: "lower", worseMax: moreProcessor },
        { key: "enqueuePerSecond", name: "embedded, enqueue in batches of 1,000", unit: "jobs/s", better: "higher", worseMax: slower },
      ],
    }),
  ),
  {
    bench: "latency",
    what: "enqueue to handler start",
    cell: "cells/latency.ts",
    question: { jobs: 400 },
    cellOf: "tree",
    figures: [
      { key: "p50Ms", name: "latency, enqueue to handler start, idle, p50", unit: "ms", better: "lower", worseMax: slower },
      { key: "p99Ms", name: "latency, enqueue to handler start, idle, p99", unit: "ms", better: "lower", worseMax: slower },
    ],
  },
  {
    bench: "recovery",
    what: "SIGKILL of a command",
    cell: "cells/recovery.ts",
    question: { what: "command", kills: 3 },
    cellOf: "tree",
    figures: [
      { key: "samples", name: "recovery, SIGKILL of a command: its next run starts after", unit: "ms", better: "lower", worseMax: slower },
    ],
  },
  {
    bench: "recovery",
    what: "SIGKILL of the handler host",
    cell: "cells/recovery.ts",
    question: { what: "handler", kills: 1 },
    cellOf: "tree",
    figures: [
      {
        key: "samples",
        name: "recovery, SIGKILL of the handler host: the next run starts after",
        unit: "ms",
        better: "lower",
        worseMax: slower,
      },
    ],
  },
  {
    bench: "recovery",
    what: "SIGKILL of the daemon with 20 commands",
    cell: "cells/recovery.ts",
    question: { what: "daemon", kills: 1 },
    cellOf: "tree",
    exactly: { adopted: 20, restarted: 0, lost: 0 },
    figures: [
      {
        key: "readyAfterMs",
        name: "recovery, SIGKILL of the daemon with 20 commands: the next start is ready after",
        unit: "ms",
        better: "lower",
        worseMax: slower,
      },
    ],
  },
  ...(["sqlite", "postgres"] as const).map(
    (engine): Measurement => ({
      bench: "reaper",
      what: engine,
      cell: "cells/reaper.ts",
      question: { jobs: 100_000, sessions: 100, dead: 10, engine },
      cellOf: "each side",
      figures: [
        { key: "foundMs", name: `reaper, ${engine}: 10 dead of 100 sessions found`, unit: "ms", better: "lower", worseMax: slower },
        { key: "idleJobReaperMs", name: `reaper, ${engine}: job-reaper, nothing due`, unit: "ms", better: "lower", worseMax: slower },
        { key: "idleWorkerReaperMs", name: `reaper, ${engine}: worker-reaper, nothing due`, unit: "ms", better: "lower", worseMax: slower },
        {
          key: "settledMs",
          name: `reaper, ${engine}: 10,000 runs of dead sessions settled`,
          unit: "ms",
          better: "lower",
          worseMax: slower,
        },
        ...(engine === "sqlite"
          ? [
              {
                key: "loopDelayP95Ms",
                name: "reaper, sqlite: event-loop delay meanwhile, p95",
                unit: "ms",
                better: "lower" as const,
                worseMax: slower,
              },
            ]
          : []),
      ],
    }),
  ),
  {
    bench: "idle",
    what: "an idle daemon",
    cell: "cells/idle.ts",
    question: { seconds: 20 },
    cellOf: "tree",
    figures: [
      { key: "readyAfterMs", name: "idle, start of the process to /readyz", unit: "ms", better: "lower", worseMax: slower },
      { key: "residentMb", name: "idle daemon, resident", unit: "MB", better: "lower", worseMax: slower },
      { key: "corePercent", name: "idle daemon, of a core", unit: "%", better: "lower", worseMax: slower },
    ],
  },
  {
    bench: "idle",
    what: "wakeful --help",
    cell: "cells/help.ts",
    question: { times: 5 },
    cellOf: "tree",
    figures: [{ key: "samples", name: "wakeful --help", unit: "ms", better: "lower", worseMax: slower }],
  },
];
