import { basename } from "node:path";
import type { RunId } from "../domain/ids.ts";
import { stopWithin } from "../domain/stop-within.ts";
import type { HelperProgram } from "../files/foreign/path-helper.ts";
import { PathDevices } from "../files/path-devices.ts";
import { ResultReader } from "../gates/result-reader.ts";
import { openTokens, type Tokens } from "../http/tokens.ts";
import { daemonWorkers, PausedWorkers } from "../operations/paused-workers.ts";
import type { Configuration } from "../pipelines/reading/load.ts";
import type { ProcessIdentity } from "../processes/probe/identity.ts";
import { randomBytes } from "../runtime/entropy.ts";
import type { Undo } from "../runtime/start-or-undo.ts";
import type { RunEnder } from "../settling/run-ender.ts";
import { createSettling, type Settling } from "../settling/settling.ts";
import { type WorkerConnection, WorkerService } from "../worker/backends/worker-service.ts";
import { CommandWorker } from "../worker/commands/command-worker.ts";
import { foldersOf, searchOf } from "../worker/commands/start-probe.ts";
import { StartTroubles } from "../worker/commands/start-troubles.ts";
import { EndedRuns } from "../worker/ended-runs.ts";
import { HandlerHosts } from "../worker/handler-host/handler-hosts.ts";
import type { DaemonOutput } from "./event-log.ts";
import type { DaemonHost } from "./open-host.ts";
import type { DaemonPaths } from "./open-paths.ts";
import type { DaemonStore } from "./open-store.ts";
import type { Watch } from "./open-watch.ts";
import { readAtEachBeat } from "./pause-reader.ts";

export interface DaemonWorkDeps {
  readonly configuration: Configuration;
  /** What commands and handlers take their allowed variables from. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly output: DaemonOutput;
  readonly programs: HelperPrograms;
  readonly daemonHost: DaemonHost;
  readonly base: DaemonStore;
  readonly watch: Watch;
  readonly paths: DaemonPaths;
  readonly undo: Undo;
}

/** Programs of ours beside the daemon's own, with their arguments. */
export interface HelperPrograms {
  /** Absent: handlers are not run by this daemon. */
  readonly handlerHost: readonly [string, ...string[]] | undefined;
  /** Absent: nobody but this process touches foreign paths. */
  readonly pathHelper: HelperProgram | undefined;
}

/** Who takes jobs in a daemon, and how their runs end. Nothing is claimed yet. */
export interface DaemonWork {
  readonly tokens: Tokens;
  readonly settling: Settling;
  readonly service: WorkerService;
  readonly commands: CommandWork;
  /** Undefined: there are no handlers, or nobody to run them. */
  readonly handlers: HandlerHosts | undefined;
  readonly pausedWorkers: PausedWorkers;
  /** Sessions of this host: never signalled, nor what is below them. */
  readonly shielded: () => readonly ProcessIdentity[];
  /** This process and its handler hosts, of whose silence and death it takes care itself. */
  readonly supervised: () => readonly ProcessIdentity[];
  readonly ended: EndedRuns;
  /** Reads no more which workers other daemons have paused. */
  readonly stopReading: () => void;
}

interface CommandWork {
  readonly name: string;
  readonly backend: WorkerConnection;
  readonly worker: CommandWorker;
  readonly starts: StartTroubles;
}

export async function openWork(deps: DaemonWorkDeps): Promise<DaemonWork> {
  const { configuration, daemonHost, base, watch, undo } = deps;
  const { dataDir } = configuration.config;
  const { store } = base;
  const tokens = await openTokens({ dataDir, randomBytes });
  const devices = devicesOf(deps);
  const settling = openSettling(deps, devices);
  const pausedWorkers = await PausedWorkers.open(store.upkeep);
  // Where this daemon alone writes to the store, its memory is never behind.
  const stopReading = store.capabilities.manyWriters ? readAtEachBeat(watch.pulse, pausedWorkers) : () => undefined;
  undo.push(stopReading);
  const mayClaim = (name: string): boolean => !watch.disk.low && !pausedWorkers.has({ name, process: daemonHost.host.identity });
  const service = openService(deps, { settling, tokens });
  const names = daemonWorkers(basename(dataDir));
  const handlers = openHandlers(deps, { service, ender: settling.ender, name: names.handlers, mayClaim: () => mayClaim(names.handlers) });
  const supervised = (): readonly ProcessIdentity[] => [daemonHost.self, ...(handlers?.identities() ?? [])];
  const shielded = (): readonly ProcessIdentity[] => [...supervised(), ...watch.shared.sessions.processes()];
  const backend = service.connect({ mayClaim: () => mayClaim(names.commands) });
  const { host } = daemonHost;
  const { registry, tell } = base;
  const ended = new EndedRuns({ store, registry, host, stop: configuration.config.stop, shielded, emit: tell.emit });
  const starts = new StartTroubles({ tell, monoNow: () => host.clock.mono(), hostId: host.identity.hostId });
  const worker = openCommands(deps, { backend, reader: settling.reader, shielded, ended, starts, devices });
  const commands = { name: names.commands, backend, worker, starts };
  return { tokens, settling, service, commands, handlers, pausedWorkers, supervised, shielded, ended, stopReading };
}

/** Of the folders that starts of commands depend on. */
function devicesOf({ configuration: { config, pipelines }, environment, paths: { access } }: DaemonWorkDeps): PathDevices {
  const stages = pipelines.flatMap(({ stages }) => Object.values(stages)).filter(({ run }) => run.kind === "command");
  return new PathDevices(
    access,
    stages.flatMap((stage) => foldersOf(searchOf(stage, { baseDir: config.baseDir, environment }))),
  );
}

function openSettling(
  { configuration: { config }, environment, daemonHost, base, paths: { access } }: DaemonWorkDeps,
  devices: PathDevices,
): Settling {
  const { store, registry, chance, tell } = base;
  const { identity, paths } = daemonHost.host;
  return createSettling({
    store,
    registry,
    reader: new ResultReader({ paths, hostId: identity.hostId, baseDir: config.baseDir, environment, access, devices, gatesAtOnce: 4 }),
    random: chance.random,
    emit: tell.emit,
    stopWithinMs: () => stopWithin(config.stop),
  });
}

/** What every worker of the daemon asks. */
function openService(
  { daemonHost, base, watch }: DaemonWorkDeps,
  { settling, tokens }: Pick<DaemonWork, "settling" | "tokens">,
): WorkerService {
  const { store, registry, checks, live, tell } = base;
  return new WorkerService({
    store,
    registry,
    ender: settling.ender,
    decider: settling.decider,
    checks: { ...checks, finalizeGraceMs: () => live.read().reaper.finalizeGraceMs },
    tokenOf: (runId: RunId) => tokens.ofRun(runId),
    via: daemonHost.host.identity.hostId,
    onRenewed: (renewal) => watch.renewals.heard(renewal),
    emit: tell.emit,
  });
}

interface HandlerParts {
  readonly service: WorkerService;
  readonly ender: RunEnder;
  readonly name: string;
  readonly mayClaim: () => boolean;
}

/** The handler host, not started yet. Undefined: the configuration has no handlers, or nobody to run them. */
function openHandlers(deps: DaemonWorkDeps, { name, ...parts }: HandlerParts): HandlerHosts | undefined {
  const { configuration, environment, output, programs, daemonHost, base, watch } = deps;
  const { config, pipelines, handlers } = configuration;
  const modulePath = config.worker.handlers ?? (handlers.size > 0 ? config.file : undefined);
  if (modulePath === undefined || programs.handlerHost === undefined) return undefined;
  const { concurrency, outstandingMax, renewMs, renewTimeoutMs, deadAfterMs } = config.worker;
  const { dataDir, baseDir, stop } = config;
  const { host } = daemonHost;
  const { waker } = watch.shared;
  return new HandlerHosts({
    ...parts,
    store: base.store,
    host,
    program: { command: programs.handlerHost, environment, output: (text) => output.handlers(text) },
    setup: {
      name,
      modulePath,
      pipelines,
      hostId: host.identity.hostId,
      dataDir,
      baseDir,
      concurrency,
      outstandingMax,
      renewMs,
      renewTimeoutMs,
      stopGraceMs: stop.stopGraceMs,
      killGraceMs: stop.killGraceMs,
      pathHelper: programs.pathHelper,
      pathTimeoutMs: config.disk.pathTimeoutMs,
    },
    recovery: {
      deadAfterMs,
      recoverySpreadMs: config.recovery.recoverySpreadMs,
      onDeath: () => {
        waker.wake("worker-reaper");
        waker.wake("stopper");
      },
    },
    tell: base.tell,
  });
}

interface CommandParts {
  readonly backend: WorkerConnection;
  readonly reader: ResultReader;
  readonly shielded: () => readonly ProcessIdentity[];
  readonly starts: StartTroubles;
  readonly devices: PathDevices;
  readonly ended: EndedRuns;
}

function openCommands(
  { configuration: { config }, environment, daemonHost, base, watch, paths: { access } }: DaemonWorkDeps,
  { devices, ...parts }: CommandParts,
): CommandWorker {
  const { host, tools } = daemonHost;
  const { registry, tell, chance } = base;
  return new CommandWorker({
    deps: {
      ...parts,
      host,
      launch: { tools, baseDir: config.baseDir, environment, access, devices },
      stop: config.stop,
      goWithinMs: config.worker.selfFenceAfterMs,
      emit: tell.emit,
    },
    registry,
    concurrency: config.worker.concurrency,
    onPoll: (listener) => watch.pulse.each(listener),
    newId: chance.newId,
  });
}
