/** What cells do with an embedded worker of the build that is measured. */
import { once } from "node:events";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Embedded, JobId, TaskContext, TaskJob } from "../../src/index.ts";
import { cpuMicros } from "../cells/answer.ts";
import { library } from "../cells/built.ts";

export interface QueueStore {
  readonly store: string;
  /** Where the host's identity is kept; beside the file unless it is said. */
  readonly dataDir?: string | undefined;
}

/** Gives `body` a worker that is kept busy by one job, so that only enqueueing is measured. That job is done as the worker stops. */
export async function whileBusy<Result>(
  store: QueueStore,
  body: (embedded: Embedded<"hold" | "noop">) => Promise<Result>,
): Promise<Result> {
  let taken: () => void = () => undefined;
  const busy = new Promise<void>((resolve) => {
    taken = resolve;
  });
  let others = 0;
  const embedded = await library.startEmbedded({
    ...whereOf(store),
    concurrency: 1,
    outstandingMax: 1,
    tasks: {
      hold: async (_: TaskJob, { signal }: TaskContext) => {
        taken();
        await once(signal, "abort");
      },
      noop: () => {
        others += 1;
      },
    },
  });
  await embedded.enqueue("hold", null, { priority: -1 });
  await busy;
  const result = await body(embedded);
  await embedded.stop();
  if (others > 0) throw new Error(`the busy worker ran ${others} of the jobs`);
  return result;
}

/** Jobs a second, a thousand a call. */
export async function enqueueInBatches(embedded: Embedded<"noop">, jobs: number): Promise<number> {
  const began = performance.now();
  for (let from = 0; from < jobs; from += 1000) {
    await embedded.enqueueMany(
      "noop",
      Array.from({ length: Math.min(1000, jobs - from) }, (_, at) => ({ i: from + at })),
    );
  }
  return jobs / ((performance.now() - began) / 1000);
}

export interface DrainOptions extends QueueStore {
  readonly jobs: number;
  readonly concurrency: number;
  readonly outstandingMax: number;
  /** How many jobs go by before measuring begins. Default none. */
  readonly unmeasured?: number | undefined;
  /** Resolves when these jobs are settled. Default: the worker is asked about each. */
  readonly settled?: ((ids: readonly JobId[]) => Promise<void>) | undefined;
}

/** Who looks on while jobs are worked off. */
export interface DrainWatch {
  /** The first handler call that is measured. */
  began(): void;
  /** The last settlement; `stop` ends the worker. */
  ended(stop: () => Promise<void>): Promise<void>;
}

const nobody: DrainWatch = { began: () => undefined, ended: (stop) => stop() };

/** Handlers that do nothing, from the first call to the last settlement. */
export async function drain(options: DrainOptions, watch: DrainWatch = nobody): Promise<Readonly<Record<string, number>>> {
  const { jobs, concurrency, outstandingMax, unmeasured = 0 } = options;
  let began = 0;
  let cpuBefore = process.cpuUsage();
  const delay = monitorEventLoopDelay({ resolution: 5 });
  const started: JobId[] = [];
  let finished: () => void = () => undefined;
  const allStarted = new Promise<void>((resolve) => {
    finished = resolve;
  });
  const embedded = await library.startEmbedded({
    ...whereOf(options),
    concurrency,
    outstandingMax,
    tasks: {
      noop: async ({ id }: TaskJob) => {
        if (started.push(id) === jobs) finished();
        if (began !== 0 || started.length <= unmeasured) return;
        began = performance.now();
        cpuBefore = process.cpuUsage();
        delay.enable();
        watch.began();
      },
    },
    log: () => undefined,
  });
  await allStarted;
  // No more can be unsettled: a worker claims when an earlier settlement is durable.
  const last = started.slice(-outstandingMax);
  if (options.settled !== undefined) await options.settled(last);
  else await Promise.all(last.map((id) => embedded.waitFor(id)));
  const seconds = (performance.now() - began) / 1000;
  const measured = jobs - unmeasured;
  const cpuUsPerJob = cpuMicros(cpuBefore) / measured;
  delay.disable();
  await watch.ended(async () => void (await embedded.stop()));
  return {
    perSecond: measured / seconds,
    cpuUsPerJob,
    delayP50Ms: delay.percentile(50) / 1e6 - 5,
    delayP99Ms: delay.percentile(99) / 1e6 - 5,
  };
}

function whereOf({ store, dataDir }: QueueStore): { readonly store: string; readonly dataDir?: string } {
  return dataDir === undefined ? { store } : { store, dataDir };
}
