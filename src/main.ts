import { basename } from "node:path";
import { LiveSettings } from "./config/live-settings.ts";
import type { LoopSettings } from "./config/loop-settings.ts";
import { withoutPassword } from "./config/postgres-url.ts";
import { openCommandSession } from "./daemon/command-session.ts";
import { createDaemonMetrics } from "./daemon/daemon-metrics.ts";
import { openEventLog } from "./daemon/event-log.ts";
import { createHandlers, startHandlers, stopLeftover } from "./daemon/handlers.ts";
import { openHost } from "./daemon/open-host.ts";
import { openLoops } from "./daemon/open-loops.ts";
import { openWatch } from "./daemon/open-watch.ts";
import { readAtEachBeat } from "./daemon/pause-reader.ts";
import { declareStart } from "./daemon/record-start.ts";
import { type StopMode, type StopReport, stopDaemon } from "./daemon/stop-daemon.ts";
import type { RunId } from "./domain/ids.ts";
import { stopWithin } from "./domain/stop-within.ts";
import { type DurationMs, seconds } from "./domain/time.ts";
import { version } from "./domain/version.ts";
import { ExitReader } from "./gates/exit-reader.ts";
import { type RunningServer, startServer } from "./http/server.ts";
import { openTokens } from "./http/tokens.ts";
import { defaultRunThresholds } from "./liveness/run-thresholds.ts";
import { alertsThrough, type Tell } from "./notify/raise-alert.ts";
import { createSettingsEditor } from "./operations/change-settings.ts";
import { Operations } from "./operations/operations.ts";
import { daemonWorkers, PausedWorkers } from "./operations/paused-workers.ts";
import { type Configuration, configLimits } from "./pipelines/reading/load.ts";
import { liveFindings } from "./pipelines/reading/stage-relations.ts";
import { PipelineRegistry } from "./pipelines/registry.ts";
import type { ProcessIdentity } from "./processes/probe/identity.ts";
import { type HostClock, systemClock } from "./runtime/clock.ts";
import { type Chance, newClientId, random, randomBytes } from "./runtime/entropy.ts";
import { createStoreClock } from "./runtime/store-clock.ts";
import { within } from "./runtime/time-limit.ts";
import { ExitDecider } from "./settling/exit-decider.ts";
import { Finaliser } from "./settling/finaliser.ts";
import { RunEnder } from "./settling/run-ender.ts";
import { createFirstChecks } from "./store/jobs/claim-rules.ts";
import { openStore } from "./store/open-store.ts";
import { type AdoptionReport, adoptOrRequeue } from "./worker/adoption.ts";
import { foregroundCaller } from "./worker/backends/caller-sessions.ts";
import { WorkerService } from "./worker/backends/worker-service.ts";
import type { CommandRunDeps } from "./worker/commands/command-run-deps.ts";
import { CommandWorker } from "./worker/commands/command-worker.ts";
import { ForegroundSessions } from "./worker/foreground/foreground-sessions.ts";
import type { Session } from "./worker/session.ts";
import { stopUnknownRuns } from "./worker/unknown-runs.ts";

export type { StopMode } from "./daemon/stop-daemon.ts";

export interface DaemonOptions {
  readonly configuration: Configuration;
  /** The environment that commands take their allowed variables from. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where log lines go. Default: standard output. */
  readonly writeLog?: (line: string) => void;
  /** The handler host's program and arguments. Absent: handlers are not run by this daemon. */
  readonly handlerHost?: readonly [string, ...string[]];
  /** Replaced by tests of the whole daemon alone. */
  readonly clock?: HostClock;
}

export interface Daemon {
  /** Such as `http://127.0.0.1:7070`. */
  readonly url: string;
  readonly socketPath: string | null;
  readonly adoption: AdoptionReport;
  readonly startSeq: number;
  /** Ends within 10 s, save for the work that `drain` waits for and `interrupt` stops. Never rejects. */
  stop(mode: StopMode): Promise<StopReport>;
  /** While it stops: kills what is being stopped, its handlers too. Resolves when it has stopped, at the latest 3 s past the kill grace. Never rejects. */
  kill(): Promise<void>;
}

/**
 * Starts the daemon: lock, schema, API, adoption, loops, claims, in this order. Resolves when it takes work.
 * Throws typed errors (`store_locked`, `store_newer`, `config_invalid`, `unavailable`, ...) and leaves nothing running then.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const undo: (() => unknown)[] = [];
  try {
    return await start(options, undo);
  } catch (thrown) {
    // The first failure is the one to tell; what cannot be undone ends with the process.
    for (const step of undo.toReversed()) await Promise.resolve(step()).catch(() => undefined);
    throw thrown;
  }
}

const chance: Chance = { random, newId: newClientId };

async function start(
  { configuration, environment, writeLog, handlerHost, clock = systemClock() }: DaemonOptions,
  undo: (() => unknown)[],
): Promise<Daemon> {
  const { config, pipelines } = configuration;
  const { host, openDirectory, installation, self, tools } = await openHost({ config, environment, clock });
  const { identity, probe, table, paths } = host;

  const storeClock = createStoreClock({ host: clock });
  const live = new LiveSettings(config, { check: ({ reaper }) => liveFindings(pipelines, configLimits({ ...config, reaper })) });
  const checks = createFirstChecks(() => live.read().reaper);
  const store = await openStore({ url: config.store, clock: storeClock, checks });
  undo.push(() => store.close());
  // Before this start writes anything: how long nobody was listening.
  const lastAliveAt = await store.upkeep.newestInstant();
  const bus = openEventLog({ store, log: config.log, writeLog, openDirectory });
  const { emit } = bus;
  const alert = alertsThrough({ outbox: store.outbox, emit });
  const tell: Tell = { emit, alert };
  const registry = new PipelineRegistry(pipelines);
  const startSeq = await declareStart({
    store,
    dataDir: config.dataDir,
    host: identity,
    registry,
    aheadMs: storeClock.aheadOfWallMs(),
    alert,
    emit,
  });

  const settings = (): LoopSettings => ({ ...config, ...live.read() });
  const finalizeGraceMs = (): DurationMs => live.read().reaper.finalizeGraceMs;
  const stopWithinMs = (): DurationMs => stopWithin(config.stop);
  const tokens = await openTokens({ dataDir: config.dataDir, randomBytes });
  const ender = new RunEnder({ store, registry, random, emit, stopWithinMs });
  const now = () => store.now();
  const reader = new ExitReader({ paths, hostId: identity.hostId, baseDir: config.baseDir, environment, gatesAtOnce: 4 });
  const decider = new ExitDecider({ registry, versions: store.items, random, now });
  const finaliser = new Finaliser({ items: store.items, reader, decider, now });
  const watch = await openWatch({ config, settings, store, registry, host, events: bus, tell, chance, lastAliveAt });
  const { commands: commandsName, handlers: handlersName } = daemonWorkers(basename(config.dataDir));
  const pausedWorkers = await PausedWorkers.open(store.upkeep);
  // Where this daemon alone writes to the store, its memory is never behind.
  const stopReading = store.capabilities.manyWriters ? readAtEachBeat(watch.pulse, pausedWorkers) : () => undefined;
  undo.push(stopReading);
  const mayClaim = (name: string): boolean => !watch.disk.low && !pausedWorkers.has({ name, process: identity });
  const service = new WorkerService({
    store,
    registry,
    ender,
    decider,
    checks: { ...checks, finalizeGraceMs },
    tokenOf: (runId: RunId) => tokens.ofRun(runId),
    onRenewed: (renewal) => watch.renewals.heard(renewal),
    emit,
  });
  const hostProcess = createHandlers({
    configuration,
    program: handlerHost,
    store,
    environment,
    name: handlersName,
    host: identity,
    table,
    ender,
    service,
    mayClaim: () => mayClaim(handlersName),
    onDeath: () => {
      watch.shared.waker.wake("worker-reaper");
      watch.shared.waker.wake("stopper");
    },
    alert,
    emit,
    mono: () => clock.mono(),
  });
  const shielded = (): readonly ProcessIdentity[] => [self, ...optional(hostProcess?.identity()), ...watch.shared.sessions.processes()];
  const commandBackend = service.connect({ mayClaim: () => mayClaim(commandsName) });
  const runDeps: CommandRunDeps = {
    backend: commandBackend,
    reader,
    paths,
    baseDir: config.baseDir,
    environment,
    host: identity,
    table,
    tools,
    clock,
    wallNow: () => clock.wall(),
    emit,
    stopGraceMs: () => config.stop.stopGraceMs,
    killGraceMs: () => config.stop.killGraceMs,
    url: () => server.url,
    workerId: () => session.workerId,
    shielded,
  };
  const worker = new CommandWorker({
    deps: runDeps,
    registry,
    concurrency: config.worker.concurrency,
    onPoll: (listener) => watch.pulse.each(listener),
    newClaimId: newClientId,
  });
  const loops = openLoops({
    settings,
    store,
    registry,
    host,
    tell,
    chance,
    watch,
    settling: { ender, finaliser },
    work: { shielded, adopt: async (run, why) => await worker.adopt(run, why) },
  });
  const operations = new Operations({
    store,
    registry,
    emit,
    newKey: newClientId,
    tasks: () => hostProcess?.tasks() ?? new Set(),
    pausedWorkers,
    stopWithinMs,
  });
  const runSessions = new ForegroundSessions({
    store,
    worker: service.connect(foregroundCaller),
    host: identity,
    paths,
    newId: newClientId,
    renewMs: config.worker.renewMs,
    diskLow: () => watch.disk.low,
    // A job may have started it: it is to be told from what that job leaves behind at once.
    onRegistered: async () => {
      await watch.shared.sessions.look();
    },
    emit,
  });
  const metrics = createDaemonMetrics({ events: bus, store, loops });
  undo.push(() => metrics.close());
  let ready = false;
  const server: RunningServer = await startServer({
    services: {
      store,
      events: bus,
      registry,
      operations,
      runSessions,
      loops,
      settings: createSettingsEditor({ live, actions: store.actions, emit }),
      readiness: () => readinessOf(ready, watch.disk.low),
      metrics,
      daemon: {
        version,
        pid: process.pid,
        startedAt: store.now(),
        startSeq,
        dataDir: config.dataDir,
        ...(installation.kind === "known" ? { instance: installation.id } : {}),
        store: withoutPassword(config.store),
      },
      runsDir: paths.runsDir,
    },
    tokens,
    listen: config.http.listen,
    allowedHosts: config.http.allowedHosts,
    correlationPrefix: randomBytes(4).toString("hex"),
  });
  undo.push(() => server.close());

  const session: Session = await openCommandSession({
    name: commandsName,
    process: self,
    backend: commandBackend,
    newHelloId: newClientId,
    config,
    worker,
    watch,
    emit,
  });
  undo.push(() => session.close());

  const { recovery, stop } = config;
  const adoption = await adoptOrRequeue({
    store,
    hostId: identity.hostId,
    observer: watch.shared.observer,
    probe,
    settings: {
      ...recovery,
      thresholds: { ...defaultRunThresholds, ...live.read().reaper, deadAfterMs: config.worker.deadAfterMs },
    },
    ender,
    adopt: (run, why) => worker.adopt(run, why),
    stopUnknown: () => stopUnknownRuns({ store, host: identity, table, paths, clock, shielded, ...stop, emit }),
    emit,
  });
  const leftover = await stopLeftover({ configuration, store, host: identity, table, ender, emit, mono: () => clock.mono() });
  // The reaper starts only now: what could be adopted has been, and what could not was given back (B-5).
  loops.start();
  undo.push(() => loops.stop());
  undo.push(() => hostProcess?.stop("abort"));
  await startHandlers(hostProcess, leftover, { alert });
  worker.start(session.workerId);
  undo.push(() => worker.leave());
  ready = true;
  emit("daemon.started", { startSeq, pid: process.pid, version, listen: server.url });

  const { url, socketPath } = server;
  let stopped: Promise<unknown> | undefined;
  return {
    url,
    socketPath,
    adoption,
    startSeq,
    stop: async (mode) => {
      ready = false;
      stopReading();
      const stopping = stopDaemon(mode, {
        session,
        handlers: hostProcess,
        worker,
        loops,
        server,
        metrics,
        store,
        emit,
        mono: () => clock.mono(),
        stopWithinMs: stopWithinMs(),
      });
      stopped = stopping;
      return await stopping;
    },
    kill: async () => {
      loops.hurry();
      for (const { pid } of optional(hostProcess?.identity())) table.signal(pid, "SIGKILL");
      if (stopped !== undefined) await within(stopped, config.stop.killGraceMs + seconds(3), { holds: true });
    },
  };
}

const optional = <T>(value: T | undefined): readonly T[] => (value === undefined ? [] : [value]);

function readinessOf(started: boolean, diskLow: boolean): { readonly ready: boolean; readonly reasons: readonly string[] } {
  const reasons = [...(started ? [] : ["starting or stopping"]), ...(diskLow ? ["free disk is below disk.minFreeBytes"] : [])];
  return { ready: reasons.length === 0, reasons };
}
