import { onTestFinished } from "vitest";
import type { RunId, WorkerId } from "../../src/domain/ids.ts";
import { dataPaths } from "../../src/files/data-paths.ts";
import type { ResultReader } from "../../src/gates/result-reader.ts";
import type { PipelineDefinition } from "../../src/pipelines/definition.ts";
import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { RunLimits, RunsStore } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { StoreTurns } from "../../src/store/port/turns.ts";
import type { Emit, EventName, WakefulEvents } from "../../src/telemetry/events.ts";
import { gatedExits } from "../../src/worker/handlers/gated-exits.ts";
import type { Handler, HandlerReports } from "../../src/worker/handlers/handler-context.ts";
import { HandlerWorker } from "../../src/worker/handlers/handler-worker.ts";
import type { WorkerBackend } from "../../src/worker/worker-backend.ts";
import { processOn } from "./store-rows.ts";
import { StoreTestClock } from "./stores.ts";
import { serviceOf, withRuns, withVerbs } from "./worker-service.ts";

export interface SeenEvent<Name extends EventName = EventName> {
  readonly name: Name;
  readonly data: WakefulEvents[Name];
}

export const dayMs = 86_400_000;

/** A real store, and workers on it whose writes a test may disturb. */
export interface HandlerBench {
  readonly store: Store;
  readonly clock: StoreTestClock;
  readonly events: SeenEvent[];
  readonly emit: Emit;
  readonly reports: { runId: RunId; progress: string | undefined }[];
  enqueue(
    count: number,
    options?: { readonly queue?: string; readonly maxAttempts?: number; readonly payloads?: readonly string[] },
  ): Promise<readonly number[]>;
  worker(options: BenchWorkerOptions): Promise<{ readonly worker: HandlerWorker; readonly workerId: WorkerId }>;
}

export interface BenchWorkerOptions {
  readonly handlers: Readonly<Record<string, Handler>>;
  readonly limits?: RunLimits;
  readonly concurrency?: number;
  readonly outstandingMax?: number;
  /** Default: the store's own. */
  readonly turns?: StoreTurns | undefined;
  readonly stopGraceMs?: number;
  readonly pollMs?: number;
  /** Stands still where a test needs runs reserved ahead, however slow the machine is. */
  readonly monoNow?: () => number;
  readonly onStuck?: (runId: RunId) => void;
  /** Replaces some of the service's verbs for this worker. */
  readonly backend?: (direct: WorkerBackend) => Partial<WorkerBackend>;
  /** Replaces some of the store's verbs for the service. */
  readonly runs?: (direct: RunsStore) => Partial<RunsStore>;
  /** Reads the gates of stages that have one. */
  readonly gate?: ResultReader["gate"];
  readonly saved?: Map<RunId, string>;
}

/** @param opened - The store; absent: an embedded one in memory. */
export async function handlerBench(
  pipelines: readonly PipelineDefinition[] = [],
  opened?: { readonly store: Store; readonly clock: StoreTestClock },
): Promise<HandlerBench> {
  const clock = opened?.clock ?? new StoreTestClock();
  const store = opened?.store ?? (await openStore({ url: ":memory:", clock }));
  if (opened === undefined) onTestFinished(() => store.close());
  const registry = new PipelineRegistry(pipelines);
  await store.jobs.ensureQueues([...registry.queues(), { name: "task", kind: "handler" }]);
  const events: SeenEvent[] = [];
  const emit: Emit = (name, data) => events.push({ name, data });
  const seenReports: { runId: RunId; progress: string | undefined }[] = [];
  const reports: HandlerReports = { beat: (runId, progress) => seenReports.push({ runId, progress }), log: () => undefined };
  let claimIds = 0;
  return {
    store,
    clock,
    events,
    emit,
    reports: seenReports,
    enqueue: async (count, { queue = "task", maxAttempts, payloads } = {}) =>
      await store.jobs.enqueue({
        queue,
        maxAttempts,
        jobs: Array.from({ length: count }, (_, index) => ({ payload: payloads?.[index] })),
      }),
    worker: async (options) => {
      const {
        handlers,
        limits = { maxRunningMs: dayMs },
        concurrency = 2,
        outstandingMax = 10,
        stopGraceMs = 5_000,
        pollMs = 1_000,
      } = options;
      const direct = serviceOf({ store: withRuns(store, options.runs?.(store.runs) ?? {}), registry, emit }).connect();
      const backend = withVerbs(direct, options.backend?.(direct) ?? {});
      const stop = new AbortController();
      const { saved = new Map<RunId, string>() } = options;
      const exits = gatedExits({
        backend,
        reader: {
          endedBy: () => Promise.reject(new Error("a handler that exits badly was not expected")),
          output: async ({ runId }) => {
            const text = saved.get(runId);
            return text === undefined ? { kind: "none" } : { kind: "json", text };
          },
          gate: options.gate ?? (() => Promise.reject(new Error("no gate was expected"))),
        },
        registry,
        paths: dataPaths(""),
        pause: async () => undefined,
        signal: stop.signal,
      });
      const names = Object.keys(handlers);
      const worker = new HandlerWorker({
        backend,
        queues: names.map((name) => ({
          name,
          handler: handlers[name] as Handler,
          limits,
          gated: registry.stageOfQueue(name)?.stage.gate !== undefined,
        })),
        limits: { concurrency, outstandingMax, turns: options.turns ?? store.capabilities.turns, pollMs, stopGraceMs, retryMs: 1 },
        exits: {
          ...exits,
          save: async (runId, output) => {
            saved.set(runId, output);
          },
        },
        reports,
        emit,
        monoNow: options.monoNow ?? (() => performance.now()),
        newId: () => `claim-${++claimIds}`,
        stuck: { onStuck: options.onStuck ?? (() => undefined) },
      });
      const hello = { helloId: "bench", name: "bench", kind: "handler", process: processOn(), concurrency, queues: names } as const;
      const workerId = await direct.hello(hello);
      worker.start(workerId);
      onTestFinished(async () => {
        stop.abort();
        await worker.abort(0);
      });
      return { worker, workerId };
    },
  };
}

/** A handler that a test ends by hand, run by run. */
export class Gatekeeper {
  readonly started: { readonly runId: RunId; readonly signal: AbortSignal }[] = [];
  readonly #open = new Map<RunId, { resolve: (output: unknown) => void; reject: (thrown: unknown) => void }>();
  /** Whether handlers throw when they are asked to stop, as a polite one does. */
  polite = false;

  readonly handler: Handler<unknown> = (job, { signal }) =>
    new Promise((resolve, reject) => {
      this.started.push({ runId: job.runId, signal });
      this.#open.set(job.runId, { resolve, reject });
      if (this.polite)
        signal.addEventListener("abort", () => reject(signal.reason instanceof Error ? signal.reason : new Error("aborted")));
    });

  finish(runId: RunId, output?: unknown): void {
    this.#take(runId).resolve(output);
  }

  fail(runId: RunId, thrown: unknown): void {
    this.#take(runId).reject(thrown);
  }

  #take(runId: RunId) {
    const open = this.#open.get(runId);
    if (open === undefined) throw new Error(`no handler of run ${runId} is at work`);
    this.#open.delete(runId);
    return open;
  }
}
