import type { Configuration } from "../pipelines/reading/load.ts";
import { type HandlerHostOptions, HandlerHostProcess } from "../worker/handler-host/handler-host-process.ts";
import { stopLeftoverHost } from "../worker/handler-host/leftover-host.ts";

type Leftover = Awaited<ReturnType<typeof stopLeftoverHost>>;

export interface DaemonHandlersOptions extends Omit<HandlerHostOptions, "command" | "setup" | "recoverySpreadMs"> {
  readonly configuration: Configuration;
  /** The handler host's program and arguments. Absent: handlers are not run by this daemon. */
  readonly program: readonly [string, ...string[]] | undefined;
}

/** The handler host of a daemon, not started yet. Undefined: the configuration has no handlers, or nobody to run them. */
export function createHandlers({ configuration, program, ...options }: DaemonHandlersOptions): HandlerHostProcess | undefined {
  const { config, pipelines, handlers } = configuration;
  const modulePath = config.worker.handlers ?? (handlers.size > 0 ? config.file : undefined);
  if (modulePath === undefined || program === undefined) return undefined;
  const { concurrency, outstandingMax, renewMs, renewTimeoutMs } = config.worker;
  const { stopGraceMs, killGraceMs } = config.stop;
  return new HandlerHostProcess({
    ...options,
    command: program,
    recoverySpreadMs: config.recovery.recoverySpreadMs,
    setup: {
      modulePath,
      pipelines,
      hostId: options.host.hostId,
      dataDir: config.dataDir,
      baseDir: config.baseDir,
      concurrency,
      outstandingMax,
      renewMs,
      renewTimeoutMs,
      stopGraceMs,
      killGraceMs,
    },
  });
}

/** Stops what an earlier daemon's host left behind: a part of the start-up requeue, so before any loop judges a run (B-5). */
export async function stopLeftover({
  configuration,
  ...options
}: Pick<DaemonHandlersOptions, "configuration" | "store" | "host" | "table" | "ender" | "emit" | "mono">): Promise<Leftover> {
  const { dataDir, recovery, stop, worker } = configuration.config;
  return await stopLeftoverHost({
    ...options,
    dataDir,
    recoverySpreadMs: recovery.recoverySpreadMs,
    deadAfterMs: worker.deadAfterMs,
    stopGraceMs: stop.stopGraceMs,
    killGraceMs: stop.killGraceMs,
  });
}

/** Starts this daemon's host, never beside an earlier one's. */
export async function startHandlers(
  handlers: HandlerHostProcess | undefined,
  leftover: Leftover,
  { alert }: Pick<DaemonHandlersOptions, "alert">,
): Promise<void> {
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
