import type { DaemonOutput } from "./daemon/event-log.ts";
import { openHost } from "./daemon/open-host.ts";
import { type Loops, openLoops } from "./daemon/open-loops.ts";
import { type DaemonPaths, openPaths } from "./daemon/open-paths.ts";
import { type DaemonServer, openServer } from "./daemon/open-server.ts";
import { type DaemonStore, openDaemonStore } from "./daemon/open-store.ts";
import { openWatch } from "./daemon/open-watch.ts";
import { type DaemonWork, openWork } from "./daemon/open-work.ts";
import { type StartedWork, startWork } from "./daemon/start-work.ts";
import { type StopMode, type StopReport, stopDaemon } from "./daemon/stop-daemon.ts";
import { type StopGraces, stopWithin } from "./domain/stop-within.ts";
import { seconds } from "./domain/time.ts";
import { version } from "./domain/version.ts";
import type { HelperProgram } from "./files/foreign/path-helper.ts";
import type { HeldFile } from "./files/held-file.ts";
import type { Configuration } from "./pipelines/reading/load.ts";
import type { Host } from "./processes/probe/host.ts";
import { type HostClock, systemClock } from "./runtime/clock.ts";
import { startOrUndo, type Undo } from "./runtime/start-or-undo.ts";
import { within } from "./runtime/time-limit.ts";
import type { AdoptionReport } from "./worker/adoption.ts";

export type { DaemonOutput } from "./daemon/event-log.ts";
export type { StopMode } from "./daemon/stop-daemon.ts";

export interface DaemonOptions {
  readonly configuration: Configuration;
  /** The environment that commands take their allowed variables from. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly output: DaemonOutput;
  /** The handler host's program and arguments. Absent: handlers are not run by this daemon. */
  readonly handlerHost?: readonly [string, ...string[]] | undefined;
  /** The program that touches paths on shares in the daemon's place. Absent: the daemon touches them itself. */
  readonly pathHelper?: HelperProgram | undefined;
  /** Whether a data directory that belongs to another store is taken over. Default `false`. */
  readonly takeDataDir?: boolean | undefined;
  /** Replaced by tests of the whole daemon alone. */
  readonly clock?: HostClock | undefined;
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
  return await startOrUndo(async (undo) => await start(options, undo));
}

async function start(
  { configuration, environment, output, handlerHost, pathHelper, takeDataDir = false, clock = systemClock() }: DaemonOptions,
  undo: Undo,
): Promise<Daemon> {
  const { config } = configuration;
  const daemonHost = await openHost({ config, environment, clock, undo });
  const { host } = daemonHost;
  const base = await openDaemonStore({ configuration, daemonHost, output, takeDataDir, undo });
  const watch = await openWatch({ ...base, config, host, ownership: { held: daemonHost.held, refuse: base.refuse } });
  const paths = openPaths({ program: pathHelper, config, clock, tell: base.tell, undo });
  const work = await openWork({
    configuration,
    environment,
    output,
    programs: { handlerHost, pathHelper },
    daemonHost,
    base,
    watch,
    paths,
    undo,
  });
  const { supervised, shielded, ended, settling, commands } = work;
  const loops = openLoops({
    ...base,
    host,
    watch,
    settling,
    paths,
    work: {
      supervised,
      shielded,
      stopEnded: () => ended.stopAll(),
      adopt: (run, why) => commands.worker.adopt(run, why),
    },
  });
  const api = await openServer({ config, daemonHost, base, watch, work, loops, paths, undo });
  const { url } = api.server;
  const started = await startWork({ configuration, daemonHost, base, watch, work, loops, url, undo });
  api.setReady(true);
  if (process.pid === 1) {
    base.tell.emit("daemon.without_init", {
      message:
        "each process that a command leaves behind stays as a zombie: start the container with an init, such as docker run --init, or tini",
    });
  }
  base.tell.emit("daemon.started", { startSeq: base.startSeq, pid: process.pid, version, listen: url });
  return runningDaemon({ stopGraces: config.stop, host, held: daemonHost.held, base, work, loops, paths, api, started });
}

interface RunningParts {
  readonly stopGraces: StopGraces;
  readonly host: Host;
  readonly held: HeldFile;
  readonly base: DaemonStore;
  readonly work: DaemonWork;
  readonly loops: Loops;
  readonly paths: DaemonPaths;
  readonly api: DaemonServer;
  readonly started: StartedWork;
}

function runningDaemon({ stopGraces, host, held, base, work, loops, paths, api, started }: RunningParts): Daemon {
  const { server, metrics } = api;
  const { handlers, commands } = work;
  let stopping: Promise<StopReport> | undefined;
  return {
    url: server.url,
    socketPath: server.socketPath,
    adoption: started.adoption,
    startSeq: base.startSeq,
    stop: async (mode) => {
      api.setReady(false);
      work.stopReading();
      stopping = stopDaemon(
        mode,
        { session: started.session, handlers, worker: commands.worker, paths, loops, server, metrics, store: base.store },
        { emit: base.tell.emit, mono: () => host.clock.mono(), stopWithinMs: stopWithin(stopGraces) },
      );
      const report = await stopping;
      held.release();
      return report;
    },
    kill: async () => {
      loops.hurry();
      handlers?.kill();
      if (stopping !== undefined) await within(stopping, stopGraces.killGraceMs + seconds(3), { holds: true });
    },
  };
}
