import { setMaxListeners } from "node:events";
import { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { messageOf, WakefulError } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import { logMaxBytesDefault } from "../../domain/log-limits.ts";
import { type DurationMs, seconds } from "../../domain/time.ts";
import { dataPaths } from "../../files/data-paths.ts";
import { ForeignPaths } from "../../files/foreign/foreign-paths.ts";
import { directAccess, type PathAccess } from "../../files/foreign/path-operation.ts";
import { ResultReader } from "../../gates/result-reader.ts";
import { PipelineRegistry } from "../../pipelines/registry.ts";
import { timerPause } from "../../runtime/pause.ts";
import type { Emit } from "../../telemetry/events.ts";
import { PipeBackend } from "../backends/pipe-backend.ts";
import { PipeChannel } from "../backends/pipe-channel.ts";
import { StoreTime } from "../backends/store-time.ts";
import { BeatBuffer } from "../buffers/beat-buffer.ts";
import { declaredLimits } from "../commands/command-run-deps.ts";
import { gatedExits } from "../handlers/gated-exits.ts";
import { HandlerWorker } from "../handlers/handler-worker.ts";
import type { HandlerQueue } from "../handlers/handler-worker-options.ts";
import { RunLogs } from "../handlers/run-logs.ts";
import { handlerOfStage, type StageHeartbeats } from "../handlers/stage-handler.ts";
import type { RunBeat } from "../worker-backend.ts";
import { type LoadedHandlers, loadHandlers } from "./handler-module.ts";
import {
  type HostOffer,
  type HostOrders,
  type HostSetup,
  hostFds,
  loadWithinMs,
  type PresenceData,
  type ToMainThread,
  type ToPresenceThread,
  unloadableExitCode,
} from "./host-protocol.ts";

export interface HandlerHostEdges {
  /** The file whose other threads run a {@link PresenceThread}. */
  readonly threadUrl: URL;
  readonly monoNow: () => number;
  readonly wallNow: () => number;
  readonly newId: () => string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly exit: (code: number) => void;
  readonly onSignal: (signal: "SIGTERM" | "SIGINT" | "SIGHUP", listener: () => void) => void;
}

const pollMs: DurationMs = seconds(1);
const beatMs: DurationMs = seconds(1);

/** The handler host: the child process of a daemon that runs the user's functions. It ends when its daemon's pipe closes. */
export function runHandlerHost(edges: HandlerHostEdges): void {
  let host: HandlerHost | undefined;
  const stop = (mode: "abort" | "drain"): void => {
    if (host === undefined) edges.exit(0);
    else host.stop(mode);
  };
  let time: StoreTime | undefined;
  const channel: PipeChannel = new PipeChannel({
    stream: new Socket({ fd: hostFds.calls }),
    onStamp: (now) => time?.sync(now),
    onClose: () => stop("abort"),
    onNote: (name, data) => {
      if (name === "jobs") host?.lookAgain();
      else if (name === "stop") stop((data as HostOrders["stop"]).mode);
      else if (name === "setup" && time === undefined) {
        const setup = data as HostSetup;
        time = new StoreTime({ now: setup.now, mono: edges.monoNow });
        HandlerHost.open({ edges, channel, setup, time }).then(
          (opened) => {
            host = opened;
            if (channel.closed) host.stop("abort");
          },
          (thrown: unknown) => giveUp(edges, channel, thrown),
        );
      }
    },
  });
  edges.onSignal("SIGTERM", () => stop("abort"));
  // A terminal sends these to everyone in it, but only the daemon decides when to stop.
  edges.onSignal("SIGINT", () => undefined);
  edges.onSignal("SIGHUP", () => undefined);
}

/** Reports why nothing can run, and exits. The daemon alerts people and tries again later. */
function giveUp(edges: HandlerHostEdges, channel: PipeChannel, thrown: unknown): void {
  const leave = (): void => edges.exit(unloadableExitCode);
  channel.call("unloadable", { message: messageOf(thrown) }).then(leave, leave);
}

class HandlerHost {
  readonly #edges: HandlerHostEdges;
  readonly #channel: PipeChannel;
  readonly #setup: HostSetup;
  readonly #backend: PipeBackend;
  readonly #worker: HandlerWorker;
  readonly #beats: BeatBuffer;
  /** How long signs of progress are gathered, and the time between two looks at files that show some. */
  readonly #beatMs: DurationMs;
  readonly #logs: RunLogs;
  readonly #stopping = new AbortController();
  readonly #disobeying = new Set<RunId>();
  #mode: "running" | "draining" | "aborting" | "retiring" = "running";
  #workerId: WorkerId | undefined;
  #presence: Worker | undefined;

  static async open(options: {
    readonly edges: HandlerHostEdges;
    readonly channel: PipeChannel;
    readonly setup: HostSetup;
    readonly time: StoreTime;
  }): Promise<HandlerHost> {
    const { edges, channel, setup } = options;
    const loaded = await loadHandlers(setup.modulePath, { timeoutMs: loadWithinMs });
    const host = new HandlerHost(options, loaded);
    const { queues, ...offer } = offerOf(setup, loaded);
    if (queues.length === 0) {
      throw new WakefulError(
        "config_invalid",
        `The handlers module ${setup.modulePath} cannot be used: no stage names one of its functions, and it has no tasks.`,
      );
    }
    await channel.call("offer", offer);
    const { name, process, concurrency } = setup;
    const workerId = await host.#backend.hello({ helloId: edges.newId(), name, kind: "handler", process, concurrency, queues });
    const { renewMs, renewTimeoutMs, stopGraceMs, killGraceMs } = setup;
    const obeyWithinMs = stopGraceMs + killGraceMs;
    const data: PresenceData = { workerId, renewMs, renewTimeoutMs, obeyWithinMs, lookMs: host.#beatMs, now: options.time.now() };
    const presence = new Worker(edges.threadUrl, { workerData: data, execArgv: [] });
    presence.on("message", (message: ToMainThread) => host.#hear(message, (answer) => presence.postMessage(answer, [])));
    presence.on("error", (thrown) => {
      // Without presence every run would count as lost sooner or later: better at once.
      globalThis.process.stderr.write(`the presence thread failed: ${messageOf(thrown)}\n`);
      edges.exit(1);
    });
    host.#workerId = workerId;
    host.#presence = presence;
    host.#worker.start(workerId);
    return host;
  }

  private constructor(
    options: { readonly edges: HandlerHostEdges; readonly channel: PipeChannel; readonly setup: HostSetup; readonly time: StoreTime },
    loaded: LoadedHandlers,
  ) {
    const { edges, channel, setup, time } = options;
    this.#edges = edges;
    this.#channel = channel;
    this.#setup = setup;
    // Each gate that is waited for listens to this signal. Node takes more than ten listeners for a leak.
    setMaxListeners(2 * setup.outstandingMax, this.#stopping.signal);
    const paths = dataPaths(setup.dataDir);
    const registry = new PipelineRegistry(setup.pipelines);
    const backend = new PipeBackend(channel, time);
    this.#backend = backend;
    const queues = queuesOf({
      setup,
      loaded,
      registry,
      heartbeats: {
        first: async (runId) => {
          await this.#beat([{ runId, at: time.now() }]);
        },
        watch: (runId, files) => this.#tellPresence({ kind: "watch", run: { runId, startedAt: time.now(), paths: files } }),
        end: (runId) => this.#tellPresence({ kind: "unwatch", runId }),
        wallNow: edges.wallNow,
      },
    });
    const emit: Emit = (name, data) => channel.note("event", { name, data });
    const shortestMs = Math.min(...queues.map(({ limits }) => limits.heartbeatTimeoutMs ?? Number.POSITIVE_INFINITY));
    // A sign of progress held back for more than a third of the timeout would look like silence.
    this.#beatMs = Math.max(1, Math.min(beatMs, Math.floor(shortestMs / 3)));
    this.#logs = new RunLogs({ paths });
    // A task from another version of this package may lack it.
    const logMaxBytesOf = (queue: string): number =>
      registry.stageOfQueue(queue)?.stage.log.maxBytes ?? loaded.tasks.get(queue)?.logMaxBytes ?? logMaxBytesDefault;
    this.#beats = new BeatBuffer({
      beat: (beats) => this.#beat(beats),
      now: () => time.now(),
      emit,
      gatherMs: this.#beatMs,
    });
    this.#beats.onLost((runId, why) => this.#lose(runId, why));
    this.#worker = new HandlerWorker({
      backend,
      queues,
      limits: {
        concurrency: setup.concurrency,
        outstandingMax: setup.outstandingMax,
        turns: setup.turns,
        pollMs,
        stopGraceMs: setup.stopGraceMs,
      },
      exits: gatedExits({
        backend,
        reader: new ResultReader({
          paths,
          hostId: setup.hostId,
          baseDir: setup.baseDir,
          environment: edges.environment,
          access: accessOf(setup, { emit, mono: edges.monoNow }),
          gatesAtOnce: 4,
        }),
        registry,
        paths,
        pause: timerPause,
        signal: this.#stopping.signal,
      }),
      reports: {
        beat: (runId, progress) => this.#beats.beat(runId, progress),
        log: ({ runId, queue }, line) => this.#logs.log({ runId, maxBytes: logMaxBytesOf(queue) }, line),
      },
      emit,
      monoNow: edges.monoNow,
      newId: edges.newId,
      stuck: { onStuck: (runId) => this.#retire(runId) },
    });
  }

  lookAgain(): void {
    this.#backend.jobsHinted();
  }

  async #beat(beats: readonly RunBeat[]): Promise<readonly RunId[]> {
    if (this.#workerId === undefined) throw new WakefulError("unavailable", "The session has not begun.");
    return await this.#backend.beat(this.#workerId, beats);
  }

  /** Ends the process: in order as far as time allows, and in any case. */
  stop(mode: "abort" | "drain"): void {
    if (this.#mode === "aborting" || (this.#mode === "draining" && mode === "drain")) return;
    this.#mode = mode === "abort" ? "aborting" : "draining";
    this.#stopping.abort();
    // The last part of the grace is for what is still to be written, and its last for saying what could not be.
    const { stopGraceMs } = this.#setup;
    const graceMs = Math.floor(stopGraceMs * 0.8);
    const ended = mode === "abort" ? this.#worker.abort(graceMs, { unwrittenMs: Math.floor(stopGraceMs * 0.1) }) : this.#worker.drain();
    if (mode === "abort") setTimeout(() => this.#edges.exit(0), stopGraceMs);
    this.#leaveAfter(ended);
  }

  /** Its handler does not stop, so this process must end: once its others have ended, or soon. */
  #retire(runId: RunId): void {
    this.#disobeying.add(runId);
    this.#channel.note("retiring", { runIds: [...this.#disobeying] });
    if (this.#mode !== "running") return;
    this.#mode = "retiring";
    setTimeout(() => this.#edges.exit(0), this.#setup.killGraceMs);
    this.#leaveAfter(this.#worker.drain());
  }

  #leaveAfter(ended: Promise<unknown>): void {
    const leave = (): void => this.#edges.exit(0);
    ended.then(() => Promise.all([this.#beats.flush(), this.#logs.flush()])).then(leave, leave);
  }

  /** To the thread that no handler can block. */
  #tellPresence(message: ToPresenceThread): void {
    this.#presence?.postMessage(message);
  }

  #lose(runId: RunId, why: string): void {
    this.#worker.lose(runId, why);
  }

  #hear(message: ToMainThread, answer: (answer: ToPresenceThread) => void): void {
    switch (message.kind) {
      case "ask":
        answer({
          kind: "held",
          number: message.number,
          held: this.#worker.held(),
          claimSeqReceived: this.#worker.claimSeqReceived,
          disobeying: this.#disobeying.size > 0,
        });
        return;
      case "lost":
        for (const { runId, why } of message.runs) this.#lose(runId, why);
        return;
      case "fenced":
        // All that it held is others' now. A session is not revived, so another process begins anew.
        this.#channel.note("event", {
          name: "worker.fenced",
          data: { workerId: this.#workerId, reason: `its session is ${message.state}` },
        });
        this.stop("abort");
    }
  }
}

function queuesOf(options: {
  readonly setup: HostSetup;
  readonly loaded: LoadedHandlers;
  readonly registry: PipelineRegistry;
  readonly heartbeats: StageHeartbeats;
}): readonly HandlerQueue[] {
  const { setup, loaded, registry, heartbeats } = options;
  const paths = dataPaths(setup.dataDir);
  const stages = registry.queues().flatMap(({ name }): readonly HandlerQueue[] => {
    const staged = registry.stageOfQueue(name);
    if (staged === undefined || staged.stage.run.kind !== "handler") return [];
    const { pipeline, stage } = staged;
    const handler = loaded.stageHandlers.get(staged.stage.run.name);
    return handler === undefined
      ? []
      : [
          {
            name,
            handler: handlerOfStage({ handler, pipeline, stage, paths, heartbeats }),
            limits: declaredLimits(stage),
            gated: stage.gate !== undefined,
          },
        ];
  });
  return [...stages, ...[...loaded.tasks.values()].map(({ name, handler, limits }) => ({ name, handler, limits }))];
}

/** Also `queues`, everything to claim: tasks, and the stages whose handler the module has. */
function offerOf({ pipelines }: HostSetup, { tasks, stageHandlers }: LoadedHandlers): HostOffer & { readonly queues: readonly string[] } {
  const registry = new PipelineRegistry(pipelines);
  const staged = registry.queues().flatMap(({ name }) => {
    const found = registry.stageOfQueue(name);
    return found?.stage.run.kind === "handler"
      ? [{ queue: name, pipeline: found.pipeline, stage: found.stage.name, handler: found.stage.run.name }]
      : [];
  });
  return {
    tasks: [...tasks.keys()],
    queues: [...staged.filter(({ handler }) => stageHandlers.has(handler)).map(({ queue }) => queue), ...tasks.keys()],
    missing: staged
      .filter(({ handler }) => !stageHandlers.has(handler))
      .map(({ pipeline, stage, handler }) => ({ pipeline, stage, handler })),
  };
}

/** Its helpers end with this process. The daemon tells people of a share only when it meets the share itself. */
function accessOf(
  { pathHelper, dataDir, pathTimeoutMs }: HostSetup,
  { emit, mono }: { readonly emit: Emit; readonly mono: () => number },
): PathAccess {
  if (pathHelper === undefined) return directAccess;
  return new ForeignPaths({
    program: pathHelper,
    dataDir,
    limitMs: pathTimeoutMs,
    mono,
    onHung: ({ helperPid = null, ...hung }) => emit("path.hung", { ...hung, helperPid }),
    onAnswers: (answers) => emit("path.answered", answers),
  });
}
