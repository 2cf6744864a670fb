import { defaultRunThresholds } from "../liveness/run-thresholds.ts";
import type { RaiseAlert } from "../notify/raise-alert.ts";
import type { Configuration } from "../pipelines/reading/load.ts";
import type { Undo } from "../runtime/start-or-undo.ts";
import { type AdoptionReport, adoptOrRequeue } from "../worker/adoption.ts";
import type { HandlerHosts } from "../worker/handler-host/handler-hosts.ts";
import { type LeftoverHost, stopLeftoverHost } from "../worker/handler-host/leftover-host.ts";
import { Session } from "../worker/session.ts";
import { stopUnknownRuns } from "../worker/unknown-runs.ts";
import type { DaemonHost } from "./open-host.ts";
import type { Loops } from "./open-loops.ts";
import type { DaemonStore } from "./open-store.ts";
import type { Watch } from "./open-watch.ts";
import type { DaemonWork } from "./open-work.ts";

export interface StartWorkDeps {
  readonly configuration: Configuration;
  readonly daemonHost: DaemonHost;
  readonly base: DaemonStore;
  readonly watch: Watch;
  readonly work: DaemonWork;
  readonly loops: Loops;
  /** Where the processes of runs find the API. */
  readonly url: string;
  readonly undo: Undo;
}

export interface StartedWork {
  /** Of the worker of commands. */
  readonly session: Session;
  readonly adoption: AdoptionReport;
}

/** Goes on with what the last daemon left, then starts the loops, then takes new work. */
export async function startWork(deps: StartWorkDeps): Promise<StartedWork> {
  const { base, work, loops, url, undo } = deps;
  const { handlers, commands } = work;
  const session = await openCommandSession(deps);
  undo.push(() => session.close());
  const adoption = await takeOver(deps);
  const leftover = await stopLeftover(deps);
  // The reaper starts only now: what could be adopted has been, and what could not was given back (B-5).
  loops.start();
  undo.push(() => loops.stop());
  undo.push(() => handlers?.stop("abort"));
  await startHandlers(handlers, leftover, base.tell.alert);
  commands.worker.start({ workerId: session.workerId, url });
  undo.push(() => commands.worker.leave());
  return { session, adoption };
}

/** Registers the daemon's worker of commands, and gives it the session. */
async function openCommandSession({ configuration, daemonHost, base, watch, work }: StartWorkDeps): Promise<Session> {
  const { renewMs, renewTimeoutMs } = configuration.config.worker;
  const { name, backend, worker } = work.commands;
  const session = await Session.open({
    backend,
    newHelloId: base.chance.newId,
    hello: { name, kind: "command", process: daemonHost.self, concurrency: worker.concurrency, queues: worker.queues },
    worker,
    renewMs,
    renewTimeoutMs,
    loopLagMs: () => watch.lag.take(),
    emit: base.tell.emit,
  });
  worker.useSession(session.workerId);
  return session;
}

/** Adopts what lives of the last daemon's commands, and gives back what does not. */
async function takeOver({ configuration: { config }, daemonHost, base, watch, work }: StartWorkDeps): Promise<AdoptionReport> {
  const { store, live, tell } = base;
  const { emit } = tell;
  const { identity, probe, table, paths, clock } = daemonHost.host;
  const { shielded, settling, commands } = work;
  return await adoptOrRequeue({
    store,
    hostId: identity.hostId,
    observer: watch.shared.observer,
    probe,
    settings: {
      ...config.recovery,
      thresholds: { ...defaultRunThresholds, ...live.read().reaper, deadAfterMs: config.worker.deadAfterMs },
    },
    ender: settling.ender,
    adopt: (run, why) => commands.worker.adopt(run, why),
    stopUnknown: () => stopUnknownRuns({ store, host: identity, table, paths, clock, shielded, ...config.stop, emit }),
    emit,
  });
}

/** Stops what an earlier daemon's handler host left behind: a part of the start-up requeue, so before any loop judges a run (B-5). */
async function stopLeftover({ configuration: { config }, daemonHost, base, work }: StartWorkDeps): Promise<LeftoverHost> {
  return await stopLeftoverHost({
    store: base.store,
    host: daemonHost.host,
    ender: work.settling.ender,
    emit: base.tell.emit,
    recoverySpreadMs: config.recovery.recoverySpreadMs,
    deadAfterMs: config.worker.deadAfterMs,
    stop: config.stop,
  });
}

/** Starts this daemon's handler host, never beside an earlier one's. */
async function startHandlers(handlers: HandlerHosts | undefined, leftover: LeftoverHost, alert: RaiseAlert): Promise<void> {
  if (leftover.kind !== "survived") {
    await handlers?.start();
    return;
  }
  const { pid } = leftover.process;
  await alert({
    cause: `handler_host:${pid}`,
    title: `The handler host of an earlier daemon, pid ${pid}, cannot be stopped: no other is started beside it`,
    details: { pid },
  });
}
