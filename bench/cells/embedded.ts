/** One process with an embedded worker on SQLite, synchronous=FULL: enqueue in batches of 1,000, then no-op handlers, claim to settled. */

import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { TaskJob } from "../../src/index.ts";
import { answer, cpuMicros, inFolder, question } from "./answer.ts";
import { library } from "./built.ts";

const { jobs, concurrency, outstandingMax } = question() as { jobs: number; concurrency: number; outstandingMax: number };

await inFolder(async (folder) => {
  const store = join(folder, "bench.db");
  const enqueuePerSecond = await enqueue(store);
  answer({ enqueuePerSecond, ...(await drain(store)) });
});

/** The worker is kept busy by one job, so that only enqueueing is measured. */
async function enqueue(store: string): Promise<number> {
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const embedded = await library.startEmbedded({
    store,
    concurrency: 1,
    outstandingMax: 1,
    tasks: { hold: () => gate, noop: () => undefined },
  });
  await embedded.enqueue("hold", null, { priority: -1 });
  const began = performance.now();
  for (let from = 0; from < jobs; from += 1000) {
    await embedded.enqueueMany(
      "noop",
      Array.from({ length: Math.min(1000, jobs - from) }, (_, at) => ({ i: from + at })),
    );
  }
  const seconds = (performance.now() - began) / 1000;
  const stopped = embedded.stop();
  release();
  await stopped;
  return jobs / seconds;
}

async function drain(store: string): Promise<Readonly<Record<string, number>>> {
  let began = 0;
  let cpuBefore = process.cpuUsage();
  const delay = monitorEventLoopDelay({ resolution: 5 });
  const started: TaskJob["id"][] = [];
  let finished: () => void = () => undefined;
  const allStarted = new Promise<void>((resolve) => {
    finished = resolve;
  });
  const embedded = await library.startEmbedded({
    store,
    concurrency,
    outstandingMax,
    tasks: {
      noop: async ({ id }: TaskJob) => {
        if (started.push(id) === jobs) finished();
        if (began !== 0) return;
        began = performance.now();
        cpuBefore = process.cpuUsage();
        delay.enable();
      },
    },
    log: () => undefined,
  });
  await allStarted;
  // No more can be unsettled: a worker claims when an earlier settlement is durable.
  await Promise.all(started.slice(-outstandingMax).map((id) => embedded.waitFor(id)));
  const seconds = (performance.now() - began) / 1000;
  const cpuUsPerJob = cpuMicros(cpuBefore) / jobs;
  delay.disable();
  await embedded.stop();
  return {
    perSecond: jobs / seconds,
    cpuUsPerJob,
    delayP50Ms: delay.percentile(50) / 1e6 - 5,
    delayP99Ms: delay.percentile(99) / 1e6 - 5,
  };
}
