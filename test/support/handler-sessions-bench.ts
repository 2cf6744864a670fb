import { onTestFinished } from "vitest";
import type { RunId } from "../../src/domain/ids.ts";
import { alertsThrough } from "../../src/notify/raise-alert.ts";
import { StoreUnavailableError } from "../../src/store/port/errors.ts";
import type { RunLimits } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { Emit, EventName, WakefulEvents } from "../../src/telemetry/events.ts";
import type { Handler } from "../../src/worker/handlers/handler-context.ts";
import { HandlerSessions } from "../../src/worker/handlers/handler-sessions.ts";
import type { SeenEvent } from "./handler-bench.ts";
import { processOn } from "./store-rows.ts";
import { serviceOf } from "./worker-service.ts";

/** A store that answers nothing while `cut` is true: every statement fails, as with a lost connection. */
export interface CuttableStore {
  readonly store: Store;
  cut: boolean;
  /** Statements that were refused. */
  refused: number;
}

export function cuttable(store: Store): CuttableStore {
  const cuttableStore = { store, cut: false, refused: 0 };
  const guarded = <Verbs extends object>(verbs: Verbs): Verbs =>
    new Proxy(verbs, {
      get: (target, name, receiver) => {
        const verb: unknown = Reflect.get(target, name, receiver);
        if (typeof verb !== "function") return verb;
        return async (...args: readonly unknown[]) => {
          if (cuttableStore.cut) {
            cuttableStore.refused += 1;
            throw new StoreUnavailableError("the store does not answer: cut off by the test");
          }
          return (await Reflect.apply(verb, target, args)) as unknown;
        };
      },
    });
  const { runs, workers, items, outbox } = store;
  cuttableStore.store = { ...store, runs: guarded(runs), workers: guarded(workers), items: guarded(items), outbox: guarded(outbox) };
  return cuttableStore;
}

export interface HandlerSessionsBench {
  readonly sessions: HandlerSessions;
  readonly events: readonly SeenEvent[];
  eventsOf<Name extends EventName>(name: Name): readonly WakefulEvents[Name][];
  /** Moves the clock that measures how long the session's renewals have failed. */
  passMs(ms: number): void;
}

export interface HandlerSessionsBenchOptions {
  readonly store: Store;
  readonly handler: Handler;
  readonly name?: string;
  readonly pid?: number;
  readonly concurrency?: number;
  readonly limits?: RunLimits;
  readonly stopGraceMs?: number;
  readonly selfFenceAfterMs?: number;
  readonly loopLagMs?: () => number;
}

let benches = 0;

/** The workers of one process over a real store, for the task `t`. */
export async function startHandlerSessions(options: HandlerSessionsBenchOptions): Promise<HandlerSessionsBench> {
  const { store, handler, name = "crew", pid = 100, concurrency = 2, limits = { maxRunningMs: 86_400_000 }, stopGraceMs = 5 } = options;
  benches += 1;
  const prefix = `bench${benches}`;
  const events: SeenEvent[] = [];
  const emit: Emit = (event, data) => void events.push({ name: event, data });
  let passedMs = 0;
  let claims = 0;
  const sessions = new HandlerSessions({
    backend: serviceOf({ store, emit }).connect(),
    worker: {
      queues: [{ name: "t", handler, limits }],
      limits: { concurrency, outstandingMax: concurrency, turns: store.capabilities.turns, pollMs: 20, stopGraceMs, retryMs: 5 },
      reports: { beat: () => undefined, log: () => undefined },
      emit,
      monoNow: () => passedMs,
      newId: () => `${prefix}-${++claims}`,
    },
    name,
    process: processOn("host-a", pid),
    renewMs: 10,
    loopLagMs: options.loopLagMs,
    selfFenceAfterMs: options.selfFenceAfterMs,
    alert: alertsThrough({ outbox: store.outbox, emit, tellsHere: true }),
    emit,
  });
  await sessions.start();
  onTestFinished(async () => {
    await sessions.stop({ drain: false, graceMs: 0 });
  });
  return {
    sessions,
    events,
    eventsOf: <Name extends EventName>(event: Name) =>
      events.filter((each) => each.name === event).map(({ data }) => data as WakefulEvents[Name]),
    passMs: (ms) => {
      passedMs += ms;
    },
  };
}

/** A handler that a test ends by hand, by payload; it may ignore that it was asked to stop. */
export class Doings {
  readonly started: { readonly payload: unknown; readonly runId: RunId; readonly signal: AbortSignal }[] = [];
  readonly #open = new Map<unknown, (output: unknown) => void>();
  readonly #outputs = new Map<unknown, unknown>();

  readonly handler: Handler<unknown> = async (job, { signal }) => {
    const ended = this.#outputs.has(job.payload)
      ? Promise.resolve(this.#outputs.get(job.payload))
      : new Promise<unknown>((resolve) => this.#open.set(job.payload, resolve));
    this.started.push({ payload: job.payload, runId: job.runId, signal });
    return await ended;
  };

  /** Ends the handler of this payload as soon as it begins. */
  finishAtOnce(payload: unknown, output: unknown): void {
    this.#outputs.set(payload, output);
  }

  runOf(payload: unknown): RunId | undefined {
    return this.started.find((each) => each.payload === payload)?.runId;
  }

  finish(payload: unknown, output?: unknown): void {
    const resolve = this.#open.get(payload);
    if (resolve === undefined) throw new Error(`no handler of ${String(payload)} is at work`);
    resolve(output);
  }
}
