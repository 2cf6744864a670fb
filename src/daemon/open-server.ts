import type { Config } from "../config/config.ts";
import { withoutPassword } from "../config/postgres-url.ts";
import { stopWithin } from "../domain/stop-within.ts";
import { version } from "../domain/version.ts";
import { type RunningServer, startServer } from "../http/server.ts";
import type { DaemonServices } from "../http/services.ts";
import { observeOldReaders } from "../observe/old-readers.ts";
import { createSettingsEditor } from "../operations/change-settings.ts";
import { Operations } from "../operations/operations.ts";
import { systemOpenFiles } from "../processes/probe/open-files.ts";
import { randomBytes } from "../runtime/entropy.ts";
import type { Undo } from "../runtime/start-or-undo.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import { foregroundCaller } from "../worker/backends/caller-sessions.ts";
import { pathsOfStage } from "../worker/commands/stage-paths.ts";
import type { StartTroubles } from "../worker/commands/start-troubles.ts";
import { ForegroundSessions } from "../worker/foreground/foreground-sessions.ts";
import type { DaemonHost } from "./open-host.ts";
import type { Loops } from "./open-loops.ts";
import type { DaemonPaths } from "./open-paths.ts";
import type { DaemonStore } from "./open-store.ts";
import type { Watch } from "./open-watch.ts";
import type { DaemonWork } from "./open-work.ts";

export interface DaemonServerDeps {
  readonly config: Config;
  readonly daemonHost: DaemonHost;
  readonly base: DaemonStore;
  readonly watch: Watch;
  readonly work: DaemonWork;
  readonly loops: Loops;
  readonly paths: DaemonPaths;
  readonly undo: Undo;
}

/** What a daemon answers to, and what it says of itself. */
export interface DaemonServer {
  readonly server: RunningServer;
  readonly metrics: Metrics;
  /** Whether new work is taken, as long as nothing else is in the way. False until it is said. */
  setReady(ready: boolean): void;
}

/** Opens the API on address and socket. Throws `unavailable`: the address is taken. */
export async function openServer(deps: DaemonServerDeps): Promise<DaemonServer> {
  const { config, watch, work, paths, undo } = deps;
  const metrics = openMetrics(deps);
  undo.push(() => metrics.close());
  let ready = false;
  const server = await startServer({
    services: {
      ...servicesOf(deps),
      metrics,
      readiness: () =>
        readinessOf({
          started: ready,
          disk: watch.disk.trouble,
          storeTrouble: watch.storeTrouble(),
          starts: work.commands.starts.reasons,
          hung: hungQueues(deps),
          troubles: paths.troubles(),
        }),
    },
    tokens: work.tokens,
    listen: config.http.listen,
    allowedHosts: config.http.allowedHosts,
    correlationPrefix: randomBytes(4).toString("hex"),
  });
  undo.push(() => server.close());
  return {
    server,
    metrics,
    setReady: (isReady) => {
      ready = isReady;
    },
  };
}

/** What the daemon's events count, and what its store and loops say when they are asked. */
function openMetrics({ base: { events, store }, loops }: DaemonServerDeps): Metrics {
  const { upkeep, outbox } = store;
  return createMetrics({
    events,
    version,
    sources: {
      queues: () => upkeep.counts(),
      slots: () => upkeep.slots(),
      outboxDepth: () => outbox.depth(),
      storeBytes: () => upkeep.sizeBytes(),
      oldReaders: () => observeOldReaders({ upkeep, files: systemOpenFiles(), ownPid: process.pid }),
      loops: () => loops.snapshots(),
    },
  });
}

function servicesOf(deps: DaemonServerDeps): Omit<DaemonServices, "metrics" | "readiness"> {
  const { config, daemonHost, base, work, loops } = deps;
  const { store, registry, events, live, tell, chance, startSeq } = base;
  const { emit } = tell;
  const { installation } = daemonHost;
  return {
    store,
    events,
    registry,
    operations: new Operations({
      store,
      registry,
      emit,
      hostId: daemonHost.host.identity.hostId,
      newKey: chance.newId,
      tasks: () => work.handlers?.tasks() ?? new Set(),
      pausedWorkers: work.pausedWorkers,
      stopWithinMs: () => stopWithin(config.stop),
    }),
    runSessions: openForeground(deps),
    loops,
    settings: createSettingsEditor({ live, actions: store.actions, emit }),
    daemon: {
      version,
      pid: process.pid,
      startedAt: store.now(),
      startSeq,
      dataDir: config.dataDir,
      instance: installation.kind === "known" ? installation.id : undefined,
      store: withoutPassword(config.store),
    },
  };
}

/** The other end of `wakeful run`. */
function openForeground({ config, daemonHost: { host }, base, watch, work }: DaemonServerDeps): ForegroundSessions {
  const { store, chance, tell } = base;
  return new ForegroundSessions({
    store,
    worker: work.service.connect(foregroundCaller),
    host: host.identity,
    paths: host.paths,
    newId: chance.newId,
    renewMs: config.worker.renewMs,
    diskLow: () => watch.disk.low,
    // A job may have started it: it is to be told from what that job leaves behind at once.
    onRegistered: async () => {
      await watch.shared.sessions.look();
    },
    emit: tell.emit,
  });
}

interface Standing {
  readonly started: boolean;
  readonly disk: string | undefined;
  readonly storeTrouble: string | undefined;
  readonly starts: StartTroubles["reasons"];
  readonly hung: readonly { readonly queue: string; readonly why: string }[];
  readonly troubles: readonly string[];
}

function readinessOf({ started, disk, storeTrouble, starts, hung, troubles }: Standing): ReturnType<DaemonServices["readiness"]> {
  const reasons = [
    ...(started ? [] : ["starting or stopping"]),
    ...(disk === undefined ? [] : [disk]),
    ...(storeTrouble === undefined ? [] : [storeTrouble]),
    ...starts.filter(({ hostWide }) => hostWide).map(({ text }) => text),
  ];
  const heldBack = [...starts.filter(({ hostWide }) => !hostWide).map(({ queue, text: why }) => ({ queue, why })), ...hung];
  return { ready: reasons.length === 0, reasons, heldBack, troubles };
}

/** Queues of commands that need a share which does not answer. */
function hungQueues({ config, base: { registry }, paths }: DaemonServerDeps): Standing["hung"] {
  return registry.queues().flatMap(({ name, kind }) => {
    const stage = kind === "command" ? registry.stageOfQueue(name)?.stage : undefined;
    const why = stage === undefined ? [] : paths.troublesOf(pathsOfStage(stage, config.baseDir));
    return why.length === 0 ? [] : [{ queue: name, why: why.join("; ") }];
  });
}
