import { hostname } from "node:os";
import { WakefulError } from "../domain/errors.ts";
import { asHostId, type JobId } from "../domain/ids.ts";
import { stopWithin } from "../domain/stop-within.ts";
import type { DurationMs } from "../domain/time.ts";
import { makeDataDirectory } from "../files/data-directory.ts";
import { dataPaths } from "../files/data-paths.ts";
import { ExitReader } from "../gates/exit-reader.ts";
import { defaultMaxRunningMs, defaultRunThresholds } from "../liveness/run-thresholds.ts";
import { alertsThrough, type Tell } from "../notify/raise-alert.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import type { Host } from "../processes/probe/host.ts";
import { readHostIdentity } from "../processes/probe/host-identity.ts";
import { createProcessProbe, type HostIdentity } from "../processes/probe/identity.ts";
import { ownIdentity } from "../processes/probe/own-identity.ts";
import { systemProcessTable } from "../processes/probe/process-table.ts";
import { systemClock } from "../runtime/clock.ts";
import { newClientId, newHostId, random } from "../runtime/entropy.ts";
import { createStoreClock } from "../runtime/store-clock.ts";
import { ExitDecider } from "../settling/exit-decider.ts";
import { Finaliser } from "../settling/finaliser.ts";
import { RunEnder } from "../settling/run-ender.ts";
import { firstChecks } from "../store/jobs/claim-rules.ts";
import { openStore } from "../store/open-store.ts";
import type { JobRow, QueueSpec } from "../store/port/jobs.ts";
import type { RunLimits } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import { EventBus } from "../telemetry/event-bus.ts";
import { eventCatalogue } from "../telemetry/events.ts";
import { WorkerService } from "../worker/backends/worker-service.ts";
import { BeatBuffer } from "../worker/buffers/beat-buffer.ts";
import { HandlerSessions } from "../worker/handlers/handler-sessions.ts";
import type { HandlerQueue } from "../worker/handlers/handler-worker-options.ts";
import { countStart } from "../worker/start-sequence.ts";
import { embeddedRunLog } from "./embedded-log.ts";
import { openEmbeddedLoops } from "./embedded-loops.ts";
import { type CheckedOptions, checkOptions, type EmbeddedLogLine, type EmbeddedOptions, type EmbeddedTask } from "./embedded-options.ts";
import { JobWaiters } from "./job-waiters.ts";

export type { EmbeddedLogLine, EmbeddedOptions, EmbeddedTask } from "./embedded-options.ts";

export interface EnqueueOptions {
  /** Lower goes first. -32768 to 32767, default 0. */
  readonly priority?: number;
  /** How long to wait before the job may be taken, in milliseconds. Default 0. */
  readonly delayMs?: number;
  /** Attempts in all. At least 1; default the task's. */
  readonly maxAttempts?: number;
  /** Losses (deaths of its process) after which the job is held for a person. Absent: a loss spends an attempt. */
  readonly maxLosses?: number;
}

/** A store with a worker in this process. */
export interface Embedded<Name extends string = string> extends AsyncDisposable {
  /**
   * Adds a job; resolves once it is durable. `payload` is any JSON value. The same `enqueueId` again answers the job that it made.
   * @throws {WakefulError} `bad_request`: no such task, not JSON, or an option out of its bounds; `disk_full`; `unavailable`.
   */
  enqueue(task: Name, payload: unknown, options?: EnqueueOptions & { readonly enqueueId?: string }): Promise<JobId>;
  /** The same for many jobs in one transaction, about ten times as fast each. Ids in the order of the payloads. Batches of 1000 are best. */
  enqueueMany(task: Name, payloads: readonly unknown[], options?: EnqueueOptions): Promise<readonly JobId[]>;
  /** The job as the store has it; `undefined`: there is none, or retention removed it. */
  get(jobId: JobId): Promise<JobRow | undefined>;
  /**
   * Resolves when the job has ended, whoever ended it, or is held for a person. Retries are waited for.
   * @throws {WakefulError} `not_found`; `unavailable` when this process stops first.
   */
  waitFor(jobId: JobId): Promise<JobRow>;
  /**
   * Takes no more jobs and closes the store. `drain`: waits for the active handlers however long they take. Else they are asked to stop
   * (`context.signal`) and given 5 s; what they throw in answer spends nothing. Resolves to the number of handlers that are still busy:
   * their jobs go on with the next start, once this process is gone. Repeated calls answer the first one's promise.
   */
  stop(options?: { readonly drain?: boolean }): Promise<{ readonly busy: number }>;
}

const renewMs: DurationMs = 5000;
const selfFenceAfterMs: DurationMs = 15_000;
const deadAfterMs: DurationMs = 30_000;
const stopGraceMs: DurationMs = 5000;
const killGraceMs: DurationMs = 2000;
const stopWithinMs = (): DurationMs => stopWithin({ stopGraceMs, killGraceMs });

/**
 * Opens a store and runs a worker and the loops that repair plain jobs in this process. What a dead predecessor held is given back first.
 *
 * What embedding costs: handlers share the event loop with the store. On SQLite each transaction blocks it (1 to 3 ms at the defaults),
 * and a handler that blocks it blocks claims, renewals and repairs; one that ignores `context.signal` keeps its slot until it returns,
 * because nothing can kill it without this process. A crash may run again at most `outstandingMax` jobs: transitions happen exactly once,
 * execution at least once. The process lives until {@link Embedded.stop}. With `postgres://`, a process that is blocked or cut off for 30 s loses its jobs to the others.
 *
 * @example
 * const queue = await startEmbedded({
 *   store: "jobs.db",
 *   tasks: { mail: async (job: TaskJob<{ to: string }>, context) => send(job.payload.to, context.signal) },
 * });
 * const id = await queue.enqueue("mail", { to: "someone@example.com" });
 * const job = await queue.waitFor(id);
 * await queue.stop();
 * @throws {WakefulError} `store_locked`: another process owns the file; `bad_request`: an option out of its bounds; and as `openStore`.
 */
export async function startEmbedded<const Name extends string>(options: EmbeddedOptions<Name>): Promise<Embedded<Name>> {
  const checked = checkOptions(options);
  const undo: (() => Promise<unknown>)[] = [];
  try {
    return await start(options, checked, undo);
  } catch (thrown) {
    // What began is undone, and the first error is the one to know.
    for (const step of undo.toReversed()) await step().catch(() => undefined);
    throw thrown;
  }
}

async function start(
  options: EmbeddedOptions,
  { concurrency, outstandingMax, pollMs, tasks, dataDir }: CheckedOptions,
  undo: (() => Promise<unknown>)[],
): Promise<Embedded> {
  const log = options.log ?? logToStderr;
  const host = await openHost(dataDir);
  const { identity, clock, paths } = host;
  const self = ownIdentity(identity, host.table);

  const storeClock = createStoreClock({ host: clock, onStep: ({ byMs }) => emit("clock.stepped", { byMs }) });
  const bus = new EventBus(
    () => storeClock.now(),
    (thrown) => process.stderr.write(`the log of an embedded worker threw: ${String(thrown)}\n`),
  );
  const { emit } = bus;
  bus.subscribe(({ name, at, data }) => log({ level: eventCatalogue[name].level, event: name, at, data: { ...data } }));
  const { synchronous } = options;
  const store = await openStore({ url: options.store, clock: storeClock, ...(synchronous === undefined ? {} : { synchronous }) });
  undo.push(() => store.close());
  if (dataDir !== undefined) {
    const { epochRaised } = await countStart(dataDir, store.upkeep);
    if (epochRaised)
      emit("store.epoch_raised", { epoch: await store.upkeep.storeEpoch(), reason: `the store is not the one of ${dataDir}` });
  }
  await store.upkeep.recordHost({ hostId: identity.hostId, bootId: identity.bootId });
  await store.jobs.ensureQueues([...tasks].map(([name, task]) => queueOf(name, task)));

  const waiters = new JobWaiters({ get: (jobId) => store.jobs.get(jobId) });
  // What the loops end is an event; plain successes, of which there are many, are told of by the worker service alone.
  bus.subscribe((event) => {
    if (event.name === "run.ended") waiters.settled([event.data]);
  });
  const registry = new PipelineRegistry([]);
  const now = () => store.now();
  const decider = new ExitDecider({ registry, versions: store.items, random, now });
  const reader = new ExitReader({ paths, hostId: identity.hostId, baseDir: paths.dataDir, environment: {}, gatesAtOnce: 1 });
  const finaliser = new Finaliser({ items: store.items, reader, decider, now });
  const ender = new RunEnder({ store, registry, random, emit, stopWithinMs });
  // No loop of an embedded worker delivers the outbox: a daemon on the same store does, now or later.
  const tell: Tell = { emit, alert: alertsThrough({ outbox: store.outbox, emit, tellsHere: true }) };
  const loops = openEmbeddedLoops({
    store,
    registry,
    settling: { ender, finaliser },
    host,
    self,
    chance: { random, newId: newClientId },
    tell,
    limits: { deadAfterMs, stopGraceMs, killGraceMs },
  });
  await loops.recover();

  const beats = new BeatBuffer({
    beat: (each) => store.runs.beat(each),
    now,
    onLost: (runId, why) => sessions.lose(runId, why),
    emit,
  });
  const service = new WorkerService({
    store,
    registry,
    ender,
    decider,
    checks: { ...firstChecks, finalizeGraceMs: () => defaultRunThresholds.finalizeGraceMs },
    tokenOf: () => undefined,
    onRenewed: (renewal) => loops.heard(renewal),
    onSettled: (ended) => waiters.settled(ended),
    emit,
  });
  const sessions = new HandlerSessions({
    backend: service.connect(),
    worker: {
      queues: [...tasks].map(([name, task]) => handlerQueueOf(name, task)),
      concurrency,
      outstandingMax,
      pollMs,
      reports: {
        beat: (runId, progress) => beats.beat(runId, progress),
        log: embeddedRunLog({ tasks, log, now }),
      },
      emit,
      monoNow: () => clock.mono(),
      newId: newClientId,
      stopGraceMs: () => stopGraceMs,
    },
    name: `embedded@${hostname()}`,
    process: self,
    renewMs,
    loopLagMs: () => loops.loopLagMs(),
    // The owner of a file is the only one who could give its jobs to another.
    ...(store.capabilities.manyWriters ? { selfFenceAfterMs } : {}),
    ...tell,
  });
  await sessions.start();
  loops.start();
  // Loops and polls never hold their process; a worker does, until it is stopped, or a program that only works would end at once.
  const keepAlive = setInterval(() => undefined, 2 ** 30);
  return new EmbeddedWorker({
    store,
    tasks,
    sessions,
    waiters,
    shutDown: async (drain) => {
      clearInterval(keepAlive);
      const busy = await sessions.stop({ drain, graceMs: stopGraceMs });
      await beats.flush();
      beats.stop();
      await loops.stop();
      waiters.close();
      await store.close();
      return busy.length;
    },
  });
}

class EmbeddedWorker implements Embedded {
  readonly #store: Store;
  readonly #tasks: ReadonlyMap<string, EmbeddedTask>;
  readonly #sessions: HandlerSessions;
  readonly #waiters: JobWaiters;
  readonly #shutDown: (drain: boolean) => Promise<number>;
  #stopped: Promise<{ readonly busy: number }> | undefined;

  constructor(parts: {
    readonly store: Store;
    readonly tasks: ReadonlyMap<string, EmbeddedTask>;
    readonly sessions: HandlerSessions;
    readonly waiters: JobWaiters;
    readonly shutDown: (drain: boolean) => Promise<number>;
  }) {
    this.#store = parts.store;
    this.#tasks = parts.tasks;
    this.#sessions = parts.sessions;
    this.#waiters = parts.waiters;
    this.#shutDown = parts.shutDown;
  }

  async enqueue(task: string, payload: unknown, options: EnqueueOptions & { readonly enqueueId?: string } = {}): Promise<JobId> {
    const { enqueueId, ...rest } = options;
    const job = { payload: jsonOf(payload), ...(enqueueId === undefined ? {} : { enqueueId }) };
    const [jobId] = await this.#add(task, [job], rest);
    if (jobId === undefined) throw new WakefulError("internal", "The store answered no id for the job.");
    return jobId;
  }

  async enqueueMany(task: string, payloads: readonly unknown[], options: EnqueueOptions = {}): Promise<readonly JobId[]> {
    return await this.#add(
      task,
      payloads.map((payload) => ({ payload: jsonOf(payload) })),
      options,
    );
  }

  async get(jobId: JobId): Promise<JobRow | undefined> {
    return await this.#store.jobs.get(jobId);
  }

  async waitFor(jobId: JobId): Promise<JobRow> {
    return await this.#waiters.waitFor(jobId);
  }

  stop({ drain = false }: { readonly drain?: boolean } = {}): Promise<{ readonly busy: number }> {
    this.#stopped ??= this.#shutDown(drain).then((busy) => ({ busy }));
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #add(
    name: string,
    jobs: readonly { readonly payload: string; readonly enqueueId?: string }[],
    options: EnqueueOptions,
  ): Promise<readonly JobId[]> {
    const task = this.#tasks.get(name);
    if (task === undefined)
      throw new WakefulError("bad_request", `There is no task ${JSON.stringify(name)} here.`, { details: { task: name } });
    const added = this.#store.jobs.enqueue({
      ...(task.maxAttempts === undefined ? {} : { maxAttempts: task.maxAttempts }),
      ...options,
      queue: name,
      jobs,
    });
    // An idle worker claims in the same transaction.
    this.#sessions.lookAgain();
    return added;
  }
}

function queueOf(name: string, { concurrency }: EmbeddedTask): QueueSpec {
  return { name, kind: "handler", ...(concurrency === undefined ? {} : { slot: { key: `task.${name}`, capacity: concurrency } }) };
}

function handlerQueueOf(name: string, { handler, timeoutMs, heartbeatTimeoutMs, maxRunningMs }: EmbeddedTask): HandlerQueue {
  const limits: RunLimits = {
    maxRunningMs: maxRunningMs ?? defaultMaxRunningMs({ timeoutMs, finaliseMs: 0, finalizeGraceMs: 0, gatePatienceMs: 0 }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(heartbeatTimeoutMs === undefined ? {} : { heartbeatTimeoutMs }),
  };
  return { name, handler, limits };
}

async function openHost(dataDir: string | undefined): Promise<Host> {
  const table = systemProcessTable();
  const identity = await identityOf(dataDir);
  return { identity, probe: createProcessProbe({ host: identity, table }), table, paths: dataPaths(dataDir ?? ""), clock: systemClock() };
}

async function identityOf(dataDir: string | undefined): Promise<HostIdentity> {
  if (dataDir === undefined) return { hostId: asHostId(newHostId()), bootId: "none", pidNamespace: "none" };
  await makeDataDirectory(dataDir);
  return await readHostIdentity({ stateDir: dataDir, randomId: newHostId });
}

function jsonOf(payload: unknown): string {
  let text: string | undefined;
  try {
    text = payload === undefined ? "null" : (JSON.stringify(payload) as string | undefined);
  } catch (cause) {
    throw new WakefulError("bad_request", "The payload is not JSON.", { cause });
  }
  if (text === undefined) throw new WakefulError("bad_request", `The payload is a ${typeof payload}, which JSON cannot hold.`);
  return text;
}

function logToStderr({ level, event, at, data }: EmbeddedLogLine): void {
  if (level === "error" || level === "warn") process.stderr.write(`${JSON.stringify({ level, event, at, ...data })}\n`);
}
