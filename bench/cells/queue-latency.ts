/** An idle embedded worker: from the call of enqueue, in this process or in another, to the start of the handler. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { TaskJob } from "../../src/index.ts";
import { percentile } from "../figure.ts";
import { whileBusy } from "../queue/wakeful-queue.ts";
import { answer, inFolder, question } from "./answer.ts";
import { library } from "./built.ts";

interface LatencyQuestion {
  readonly jobs: number;
  readonly from: "this process" | "another process" | "called by the other";
  /** Absent: a SQLite file of the cell's own. */
  readonly store?: string;
  readonly dataDir?: string;
}

/** The first ones warm up code, connections and files. */
const warmUp = 20;
const asked = question() as LatencyQuestion;
const jobs = asked.jobs + warmUp;

await inFolder(async (folder) => {
  const where = { store: asked.store ?? join(folder, "bench.db"), dataDir: asked.dataDir ?? join(folder, "data") };
  if (asked.from === "called by the other") {
    await whileBusy(where, (embedded) => enqueueAll((payload) => embedded.enqueue("noop", payload)));
    return;
  }
  const latencies: number[] = [];
  let finished: () => void = () => undefined;
  const all = new Promise<void>((resolve) => {
    finished = resolve;
  });
  const embedded = await library.startEmbedded({
    ...where,
    tasks: {
      noop: ({ payload }: TaskJob) => {
        latencies.push(monotonicMs() - (payload as { at: number }).at);
        if (latencies.length === jobs) finished();
      },
    },
    log: () => undefined,
  });
  if (asked.from === "this process") await enqueueAll((payload) => embedded.enqueue("noop", payload));
  else await callOther(where.dataDir);
  await all;
  await embedded.stop();
  const steady = latencies.slice(warmUp);
  answer({
    p50Ms: percentile(steady, 0.5),
    p95Ms: percentile(steady, 0.95),
    p99Ms: percentile(steady, 0.99),
    maxMs: Math.max(...steady),
  });
});

async function enqueueAll(enqueue: (payload: { readonly at: number }) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < jobs; at++) {
    await enqueue({ at: monotonicMs() });
    await pause(10 + Math.random() * 20);
  }
}

/** This very program as the one that enqueues; its own worker is busy, so this one gets the jobs. */
async function callOther(dataDir: string): Promise<void> {
  const args = ["--import", "tsx", fileURLToPath(import.meta.url), JSON.stringify({ ...asked, dataDir, from: "called by the other" })];
  const [code] = (await once(spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] }), "exit")) as [number | null];
  if (code !== 0) throw new Error(`the process that enqueues ended with ${String(code)}`);
}

/** The system's monotonic clock is the same in all processes. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
