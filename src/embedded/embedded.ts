import { hostname } from "node:os";
import { asHostId } from "../domain/ids.ts";
import { logMaxBytesDefault } from "../domain/log-limits.ts";
import { type StopGraces, stopWithin } from "../domain/stop-within.ts";
import type { DurationMs, Instant } from "../domain/time.ts";
import { makeDataDirectory } from "../files/data-directory.ts";
import { dataPaths } from "../files/data-paths.ts";
import { directAccess } from "../files/foreign/path-operation.ts";
import { ResultReader } from "../gates/result-reader.ts";
import { defaultMaxRunningMs, defaultRunThresholds } from "../liveness/run-thresholds.ts";
import { alertsThrough, type Tell } from "../notify/raise-alert.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import type { Host } from "../processes/probe/host.ts";
import { readHostIdentity } from "../processes/probe/host-identity.ts";
import { createProcessProbe, type HostIdentity, type ProcessIdentity } from "../processes/probe/identity.ts";
import { ownIdentity } from "../processes/probe/own-identity.ts";
import { systemProcessTable } from "../processes/probe/process-table.ts";
import { systemClock } from "../runtime/clock.ts";
import { newClientId, newHostId, random } from "../runtime/entropy.ts";
import { startOrUndo, type Undo } from "../runtime/start-or-undo.ts";
import { createStoreClock } from "../runtime/store-clock.ts";
import { createSettling, type Settling } from "../settling/settling.ts";
import { firstChecks } from "../store/jobs/claim-rules.ts";
import { migrationEvents } from "../store/migration-told.ts";
import { openStore } from "../store/open-store.ts";
import type { QueueSpec } from "../store/port/jobs.ts";
import type { RunLimits } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import { EventBus } from "../telemetry/event-bus.ts";
import { eventCatalogue } from "../telemetry/events.ts";
import { WorkerService } from "../worker/backends/worker-service.ts";
import { BeatBuffer } from "../worker/buffers/beat-buffer.ts";
import type { HandlerReports } from "../worker/handlers/handler-context.ts";
import { HandlerSessions } from "../worker/handlers/handler-sessions.ts";
import type { HandlerQueue } from "../worker/handlers/handler-worker-options.ts";
import { countStart } from "../worker/start-sequence.ts";
import { type EmbeddedLoops, openEmbeddedLoops } from "./embedded-loops.ts";
import { type CheckedOptions, checkOptions, type EmbeddedLogLine, type EmbeddedOptions, type EmbeddedTask } from "./embedded-options.ts";
import { type Embedded, EmbeddedWorker } from "./embedded-worker.ts";
import { JobWaiters } from "./job-waiters.ts";

export type { EmbeddedLogLine, EmbeddedOptions, EmbeddedTask } from "./embedded-options.ts";
export type { Embedded, EnqueueOptions } from "./embedded-worker.ts";

const renewMs: DurationMs = 5000;
const selfFenceAfterMs: DurationMs = 15_000;
const deadAfterMs: DurationMs = 30_000;
const stopGraces: StopGraces = { stopGraceMs: 5000, killGraceMs: 2000 };

/**
 * What the package exports as `startEmbedded`, loaded when it is called.
 *
 * @throws {WakefulError} `store_locked`: another process owns the file; `bad_request`: an option out of its bounds; and as `openStore`.
 */
export async function startEmbedded<const Name extends string>(options: EmbeddedOptions<Name>): Promise<Embedded<Name>> {
  const checked = checkOptions(options);
  return await startOrUndo(async (undo) => await start(options, checked, undo));
}

async function start(options: EmbeddedOptions, checked: CheckedOptions, undo: Undo): Promise<Embedded> {
  const host = await openHost(checked.dataDir);
  const base = await openBase(options, checked, host, undo);
  const work = openWork(base);
  await work.loops.recover();
  const { sessions, beats } = openSessions(base, work);
  await sessions.start();
  work.loops.start();
  // Loops and polls never hold their process; a worker does, until it is stopped, or a program that only works would end at once.
  const keepAlive = setInterval(() => undefined, 2 ** 30);
  return new EmbeddedWorker({
    store: base.store,
    tasks: checked.tasks,
    sessions,
    waiters: work.waiters,
    shutDown: async (drain) => {
      clearInterval(keepAlive);
      const busy = await sessions.stop({ drain, graceMs: stopGraces.stopGraceMs });
      await beats.flush();
      beats.stop();
      await work.loops.stop();
      work.waiters.close();
      await base.store.close();
      return busy.length;
    },
  });
}

/** What an embedded worker stands on. */
interface EmbeddedBase {
  readonly host: Host;
  /** The process that embeds the worker. */
  readonly self: ProcessIdentity;
  readonly checked: CheckedOptions;
  readonly log: (line: EmbeddedLogLine) => void;
  readonly store: Store;
  readonly events: EventBus;
  readonly tell: Tell;
}

async function openBase(
  { store: url, synchronous, log = logToStderr }: EmbeddedOptions,
  checked: CheckedOptions,
  host: Host,
  undo: Undo,
): Promise<EmbeddedBase> {
  const { dataDir, tasks } = checked;
  const self = ownIdentity(host.identity, host.table);
  const clock = createStoreClock({ host: host.clock });
  const events = new EventBus(
    () => clock.now(),
    (thrown) => process.stderr.write(`the log of an embedded worker threw: ${String(thrown)}\n`),
  );
  const { emit } = events;
  events.subscribe(({ name, at, data }) => log({ level: eventCatalogue[name].level, event: name, at, data: { ...data } }));
  const migration = migrationEvents({ emit, mono: () => clock.mono() });
  const store = await openStore({ url, clock, synchronous, tellMigration: migration.tell });
  undo.push(() => store.close());
  migration.finished();
  if (dataDir !== undefined) {
    const { epochRaised } = await countStart(dataDir, store.upkeep);
    if (epochRaised)
      emit("store.epoch_raised", { epoch: await store.upkeep.storeEpoch(), reason: `the store is not the one of ${dataDir}` });
  }
  await store.upkeep.recordHost({ hostId: host.identity.hostId, bootId: host.identity.bootId });
  await store.jobs.ensureQueues([...tasks].map(([name, task]) => queueOf(name, task)));
  // No loop of an embedded worker delivers the outbox: a daemon on the same store does, now or later.
  const tell: Tell = { emit, alert: alertsThrough({ outbox: store.outbox, emit, tellsHere: true }) };
  return { host, self, checked, log, store, events, tell };
}

/** How runs end here, whoever notices, and who waits for that. */
interface EmbeddedWork {
  readonly registry: PipelineRegistry;
  readonly settling: Settling;
  readonly waiters: JobWaiters;
  readonly loops: EmbeddedLoops;
}

function openWork({ host, self, store, events, tell }: EmbeddedBase): EmbeddedWork {
  const { identity, paths } = host;
  const waiters = new JobWaiters({ get: (jobId) => store.jobs.get(jobId) });
  // What the loops end is an event; plain successes, of which there are many, are reported by the worker service alone.
  events.subscribe((event) => {
    if (event.name === "run.ended") waiters.settled([event.data]);
  });
  const registry = new PipelineRegistry([]);
  const settling = createSettling({
    store,
    registry,
    reader: new ResultReader({
      paths,
      hostId: identity.hostId,
      baseDir: paths.dataDir,
      environment: {},
      access: directAccess,
      gatesAtOnce: 1,
    }),
    random,
    emit: tell.emit,
    stopWithinMs: () => stopWithin(stopGraces),
  });
  const loops = openEmbeddedLoops({
    store,
    registry,
    settling,
    host,
    self,
    chance: { random, newId: newClientId },
    tell,
    limits: { renewMs, deadAfterMs, ...stopGraces },
  });
  return { registry, settling, waiters, loops };
}

interface EmbeddedSessions {
  readonly sessions: HandlerSessions;
  readonly beats: BeatBuffer;
}

function openSessions(base: EmbeddedBase, work: EmbeddedWork): EmbeddedSessions {
  const { host, self, checked, log, store, tell } = base;
  const { tasks, concurrency, outstandingMax, pollMs } = checked;
  const now = () => store.now();
  const beats = new BeatBuffer({ beat: (each) => store.runs.beat(each), now, emit: tell.emit });
  const sessions = new HandlerSessions({
    backend: openService(base, work).connect(),
    worker: {
      queues: [...tasks].map(([name, task]) => handlerQueueOf(name, task)),
      limits: { concurrency, outstandingMax, turns: store.capabilities.turns, pollMs, stopGraceMs: stopGraces.stopGraceMs },
      reports: {
        beat: (runId, progress) => beats.beat(runId, progress),
        log: runLog({ tasks, log, now }),
      },
      emit: tell.emit,
      monoNow: () => host.clock.mono(),
      newId: newClientId,
    },
    name: `embedded@${hostname()}`,
    process: self,
    renewMs,
    loopLagMs: () => work.loops.loopLagMs(),
    // The owner of a file is the only one who could give its jobs to another.
    selfFenceAfterMs: store.capabilities.manyWriters ? selfFenceAfterMs : undefined,
    ...tell,
  });
  beats.onLost((runId, why) => sessions.lose(runId, why));
  return { sessions, beats };
}

function openService({ store, tell }: EmbeddedBase, { registry, settling, waiters, loops }: EmbeddedWork): WorkerService {
  return new WorkerService({
    store,
    registry,
    ender: settling.ender,
    decider: settling.decider,
    checks: { ...firstChecks, finalizeGraceMs: () => defaultRunThresholds.finalizeGraceMs },
    tokenOf: () => undefined,
    onRenewed: (renewal) => loops.heard(renewal),
    onSettled: (ended) => waiters.settled(ended),
    emit: tell.emit,
  });
}

function queueOf(name: string, { concurrency }: EmbeddedTask): QueueSpec {
  const slot = concurrency === undefined ? undefined : { key: `task.${name}`, capacity: concurrency };
  return { name, kind: "handler", slot };
}

function handlerQueueOf(name: string, { handler, timeoutMs, heartbeatTimeoutMs, maxRunningMs }: EmbeddedTask): HandlerQueue {
  const limits: RunLimits = {
    maxRunningMs: maxRunningMs ?? defaultMaxRunningMs({ timeoutMs, finaliseMs: 0, finalizeGraceMs: 0, gatePatienceMs: 0 }),
    timeoutMs,
    heartbeatTimeoutMs,
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

function logToStderr({ level, event, at, data }: EmbeddedLogLine): void {
  if (level === "error" || level === "warn") process.stderr.write(`${JSON.stringify({ level, event, at, ...data })}\n`);
}

interface RunLogDeps {
  readonly tasks: ReadonlyMap<string, EmbeddedTask>;
  readonly log: (line: EmbeddedLogLine) => void;
  readonly now: () => Instant;
}

/**
 * Hands lines of handlers to the application's own log, as many bytes of each run as its task allows. Unlike a file, that log cannot be cut
 * afterwards, so the oldest lines stay.
 */
function runLog({ tasks, log, now }: RunLogDeps): HandlerReports["log"] {
  return (run, said: unknown) => {
    // The compiler cannot keep anything else out of JavaScript, and work must not fail for its log.
    const line = typeof said === "string" ? said : `(a log line that is a ${typeof said})`;
    const maxBytes = tasks.get(run.queue)?.logMaxBytes ?? logMaxBytesDefault;
    if (run.loggedBytes > maxBytes) return;
    run.loggedBytes += Buffer.byteLength(line) + 1;
    const told =
      run.loggedBytes > maxBytes ? `[wakeful] more than ${maxBytes} bytes (logMaxBytes): the rest of this run's lines is dropped` : line;
    log({ level: "info", event: "run.log", at: now(), data: { runId: run.runId, line: told } });
  };
}
