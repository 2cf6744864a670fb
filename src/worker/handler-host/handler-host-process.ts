import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { inSeconds } from "../../domain/durations.ts";
import { messageOf, WakefulError } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import { runTaskName } from "../../domain/run-task.ts";
import { type DurationMs, minutes, seconds } from "../../domain/time.ts";
import type { Tell } from "../../notify/raise-alert.ts";
import type { Host } from "../../processes/probe/host.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import { identityOf } from "../../processes/probe/own-identity.ts";
import { cleanEnvironment } from "../../processes/run-folder/run-marker.ts";
import type { HostClock } from "../../runtime/clock.ts";
import { timerPause } from "../../runtime/pause.ts";
import { underStartedUmask } from "../../runtime/umask.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { Store } from "../../store/port/store.ts";
import type { EventName } from "../../telemetry/events.ts";
import { pipeVerbs } from "../backends/pipe-backend.ts";
import { type ChannelVerb, PipeChannel } from "../backends/pipe-channel.ts";
import type { WorkerConnection, WorkerService } from "../backends/worker-service.ts";
import type { Hello } from "../worker-backend.ts";
import { type HostNotes, type HostOffer, type HostSetup, hostFds, unloadableExitCode } from "./host-protocol.ts";
import { type HostEnd, settleRunsOfHost } from "./host-runs.ts";
import { HostWatch } from "./host-watch.ts";
import { removeHostRecord, writeHostRecord } from "./leftover-host.ts";
import type { HostVerbs } from "./suspect-trials.ts";

export interface HandlerHostOptions {
  readonly store: Pick<Store, "jobs" | "runs" | "workers" | "now" | "onHint" | "capabilities">;
  readonly service: WorkerService;
  readonly ender: Pick<RunEnder, "endAll">;
  readonly host: Pick<Host, "identity" | "table"> & { readonly clock: Pick<HostClock, "mono"> };
  readonly program: HostProgram;
  readonly setup: Omit<HostSetup, "now" | "process" | "turns">;
  readonly recovery: HostRecovery;
  /** False while nothing new may be claimed, such as on a full disk. */
  readonly mayClaim: () => boolean;
  readonly tell: Tell;
  /** Absent: the only host of its daemon. */
  readonly beside?: BesideOthers | undefined;
}

/** What a host has of its own that is not the only one. */
export interface BesideOthers {
  /** Verbs of the worker service that are answered differently. */
  readonly verbs: HostVerbs;
  /** It has one life, and leaves no record on disk: it ends with its daemon's pipe. `onOver`: it is gone, and settled. */
  readonly alone?: { readonly onOver: () => void } | undefined;
}

export interface HostProgram {
  /** The program and its arguments: `node dist/bin/handler-host.js`. */
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Called with what it writes to its standard output and error. Must not wait: handlers that print would wait as well. */
  readonly output: (text: string) => void;
}

/** When it counts as hung, and what follows when it dies. */
export interface HostRecovery {
  readonly recoverySpreadMs: DurationMs;
  /** How long it may say nothing before it is killed as hung; time in which this process stood still does not count. */
  readonly deadAfterMs: DurationMs;
  /** It died unasked: its session and runs may be judged at once. A hint. */
  readonly onDeath: () => void;
  /**
   * The delay before a restart: doubled from `firstMs` (500) up to `maxMs` (30 000), and reset once the host has lived for a minute. Of a
   * host that had taken work, the first five deaths are followed at once.
   */
  readonly restart?: { readonly firstMs: DurationMs; readonly maxMs: DurationMs } | undefined;
}

/** One child process, from its start to its end. */
interface Child {
  readonly process: ChildProcess;
  readonly identity: ProcessIdentity;
  readonly calls: PipeChannel;
  readonly presence: PipeChannel;
  readonly startedAtMono: number;
  /** Its caller at the worker service. */
  readonly worker: WorkerConnection;
  workerId: WorkerId | undefined;
  /** The host ends itself, because handlers of these runs do not stop. */
  retiring: readonly RunId[] | undefined;
  readonly watch: HostWatch;
}

/** How long what it wrote may be on its way to us when it is gone. */
const lastWordsMs = 200;
/** A life this long without trouble resets the count of failures. */
const settledAfterMs = minutes(1);
/** How often, and how long apart, the end of what it held is tried to be written before it is left to the judges. */
const settleTries = 30;
const settleAgainMs: DurationMs = seconds(1);
/** The only events that are believed from the host. */
const hostEvents: ReadonlySet<string> = new Set<EventName>(["worker.fenced", "store.degraded", "defect.found"]);

/** The daemon's side of its handler host: starts, serves, restarts and ends it. The daemon itself runs no user code. */
export class HandlerHostProcess {
  readonly #options: HandlerHostOptions;
  #child: Child | undefined;
  /** Gone, and what they held is being handed on. */
  readonly #settling = new Set<Child>();
  #tasks: ReadonlySet<string> = new Set();
  #failures = 0;
  #restart: NodeJS.Timeout | undefined;
  #mode: "new" | "running" | "stopped" = "new";
  #stopAsked = false;
  #lastAlert = "";
  #starting: Promise<void> | undefined;
  /** The end of the newest child, with everything that follows from it. */
  #last: Promise<void> | undefined;
  readonly #stopListening: () => void;

  constructor(options: HandlerHostOptions) {
    this.#options = options;
    this.#stopListening = options.store.onHint((hint) => {
      if (hint === "jobs") this.#child?.calls.note("jobs");
    });
  }

  /** Resolves when the process has been started. It takes work once its module has loaded. */
  async start(): Promise<void> {
    if (this.#mode !== "new") return;
    this.#mode = "running";
    await this.#begin();
  }

  /** Plain tasks that its module offers. */
  tasks(): ReadonlySet<string> {
    return this.#tasks;
  }

  /** Of the running host: signallers must leave it and everything below it alone. */
  identity(): ProcessIdentity | undefined {
    return this.#child?.identity;
  }

  /** Also of those that are gone and not settled: judges leave them to their parent. */
  identities(): readonly ProcessIdentity[] {
    return [...(this.#child === undefined ? [] : [this.#child]), ...this.#settling].map(({ identity }) => identity);
  }

  /** Ends the running host at once. */
  kill(): void {
    this.#child?.process.kill("SIGKILL");
  }

  /** Has the running host end once what it does is done. */
  dismiss(): void {
    this.#child?.calls.note("stop", { mode: "drain" });
  }

  get workerId(): WorkerId | undefined {
    return this.#child?.workerId;
  }

  /**
   * `abort`: handlers are asked to stop and given the stop grace, then the process is killed; nothing is spent. `drain`: waits for them.
   */
  async stop(mode: "abort" | "drain"): Promise<void> {
    this.#stopAsked = true;
    this.#mode = "stopped";
    clearTimeout(this.#restart);
    await this.#starting;
    this.#stopListening();
    const child = this.#child;
    child?.calls.note("stop", { mode });
    let kill: NodeJS.Timeout | undefined;
    if (child !== undefined && mode === "abort") {
      child.process.kill("SIGTERM");
      kill = setTimeout(() => child.process.kill("SIGKILL"), this.#options.setup.stopGraceMs + killDelayMs);
    }
    await this.#last;
    clearTimeout(kill);
  }

  /** Lets go of the process like a daemon that dies: pipes close, nobody waits for it, and no other is started. */
  disconnect(): void {
    this.#mode = "stopped";
    clearTimeout(this.#restart);
    this.#stopListening();
    const child = this.#child;
    this.#child = undefined;
    this.#last = undefined;
    child?.watch.stop();
    child?.process.removeAllListeners("close");
    child?.calls.close();
    child?.presence.close();
    child?.worker.close();
  }

  async #begin(): Promise<void> {
    this.#starting = this.#spawn().catch((thrown: unknown) => {
      // Out of processes, or the record cannot be written: repeated like after any other early end.
      this.#options.tell.emit("loop.subject_failed", { loop: "handler-host", subject: "start", message: messageOf(thrown) });
      this.#beginLater();
    });
    await this.#starting;
  }

  async #spawn(): Promise<void> {
    const { setup, store, service, host, mayClaim } = this.#options;
    const { process, identity } = await this.#spawnProcess();
    const worker = service.connect({ mayClaim });
    const verbs = { ...pipeVerbs(worker), ...this.#options.beside?.verbs(worker) };
    const { renew, beat } = verbs;
    const onNote = (note: string, data: unknown): void => this.#noted(started, note, data);
    const stamp = () => store.now();
    const watch = new HostWatch({
      pid: identity.pid,
      workerId: () => started.workerId,
      deadAfterMs: this.#options.recovery.deadAfterMs,
      renewMs: setup.renewMs,
      monoNow: () => host.clock.mono(),
      tell: this.#options.tell,
      kill: () => process.kill("SIGKILL"),
    });
    const onHeard = (): void => watch.heard();
    const started: Child = {
      process,
      identity,
      worker,
      calls: new PipeChannel({
        stream: process.stdio[hostFds.calls] as Duplex,
        verbs: { ...verbs, ...this.#ownVerbs(() => started) },
        stamp,
        onNote,
        onHeard,
      }),
      presence: new PipeChannel({ stream: process.stdio[hostFds.presence] as Duplex, verbs: { renew, beat }, stamp, onNote, onHeard }),
      startedAtMono: host.clock.mono(),
      workerId: undefined,
      retiring: undefined,
      watch,
    };
    this.#child = started;
    this.#last = new Promise<void>((resolve) => {
      // "close" comes after everything that the host wrote has been read.
      process.once("close", (code, signal) => {
        this.#ended(started, { code, signal }).then(resolve, resolve);
      });
    });
    try {
      // Recorded on disk before it may claim anything.
      if (this.#options.beside?.alone === undefined) await writeHostRecord(setup.dataDir, started.identity);
    } catch (thrown) {
      this.#options.tell.emit("loop.subject_failed", { loop: "handler-host", subject: "record", message: messageOf(thrown) });
      process.kill("SIGKILL");
      return;
    }
    started.calls.note("setup", { ...setup, turns: store.capabilities.turns, process: identity, now: store.now() } satisfies HostSetup);
  }

  async #spawnProcess(): Promise<{ readonly process: ChildProcess; readonly identity: ProcessIdentity }> {
    const { program, setup, host } = this.#options;
    const [file, ...args] = program.command;
    const process = underStartedUmask(() =>
      spawn(file, args, {
        cwd: setup.baseDir,
        env: cleanEnvironment(program.environment),
        // Not our own descriptors: a reader of those that stands still would hold up every handler that prints.
        stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
      }),
    );
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => program.output(text));
    }
    // What its handlers started may hold its pipes for as long as it lives; the host's end does not wait for that.
    process.once("exit", () => void timerPause(lastWordsMs).then(() => process.stdio.forEach((stream) => stream?.destroy())));
    await new Promise<void>((resolve, reject) => {
      process.once("spawn", resolve);
      process.once("error", reject);
    });
    const sight = process.pid === undefined ? undefined : host.table.look(process.pid);
    if (sight?.kind !== "seen") throw new WakefulError("internal", "The handler host ended before it could be looked at.");
    return { process, identity: identityOf(host.identity, sight.row) };
  }

  /** Verbs by which the host describes itself. Its identity is the one its daemon saw. */
  #ownVerbs(child: () => Child): Record<string, ChannelVerb> {
    const { name, concurrency } = this.#options.setup;
    return {
      hello: async (hello: Hello) => {
        const { identity: process, worker } = child();
        child().workerId = await worker.hello({ ...hello, name, kind: "handler", process, concurrency });
        return child().workerId;
      },
      offer: async (offer: HostOffer) => await this.#offered(offer),
      unloadable: async ({ message }: HostNotes["unloadable"]) => this.#alert("handlers_unloadable", message),
    };
  }

  async #offered({ tasks, missing }: HostOffer): Promise<void> {
    const { store, setup } = this.#options;
    const offered = tasks.filter((task) => task !== runTaskName && !task.includes("/"));
    if (offered.length > 0) await store.jobs.ensureQueues(offered.map((task) => ({ name: task, kind: "handler" })));
    this.#tasks = new Set(offered);
    if (this.#options.beside?.alone !== undefined) return;
    if (missing.length > 0) {
      const list = missing.map(({ pipeline, stage, handler }) => `${handler} (stage ${stage} of ${pipeline})`).join(", ");
      this.#alert("handlers_missing", `The handlers module ${setup.modulePath} has no ${list}: nothing works on these stages.`);
    } else {
      this.#lastAlert = "";
    }
  }

  #noted(child: Child, name: string, data: unknown): void {
    if (name === "retiring") {
      child.retiring = (data as HostNotes["retiring"]).runIds;
    } else if (name === "event") {
      const { name: event, data: facts } = data as HostNotes["event"];
      if (hostEvents.has(event)) this.#options.tell.emit(event as EventName, facts as never);
    }
  }

  async #ended(child: Child, how: { readonly code: number | null; readonly signal: string | null }): Promise<void> {
    child.watch.stop();
    this.#settling.add(child);
    child.calls.close();
    child.presence.close();
    child.worker.close();
    if (this.#child === child) this.#child = undefined;
    const stopped = this.#mode === "stopped";
    const { host, tell, recovery, beside } = this.#options;
    const alone = beside?.alone;
    const hung = child.watch.hungMs !== undefined;
    const planned = stopped || child.retiring !== undefined || hung;
    if (!planned) this.#failures = host.clock.mono() - child.startedAtMono >= settledAfterMs ? 1 : this.#failures + 1;
    if (alone !== undefined) this.#mode = "stopped";
    else if (!stopped) {
      const restartInMs = planned ? 0 : this.#restartDelayMs(child.workerId !== undefined);
      tell.emit("handler_host.exited", { pid: child.identity.pid, ...how, restartInMs });
      this.#beginLater(restartInMs);
    }
    await this.#settle(child, hung ? "hung" : stopped ? "stopped" : child.retiring === undefined ? "died" : "collateral");
    this.#settling.delete(child);
    // Jobs that waited for the end of this process now have proof; what could not be settled is judged. A module that does not load had none.
    if (how.code !== unloadableExitCode) recovery.onDeath();
    if (alone !== undefined) alone.onOver();
    else if (stopped) await removeHostRecord(this.#options.setup.dataDir).catch(() => undefined);
  }

  /** Its own parent has seen it end, so what it held can be handed on. */
  async #settle({ workerId, identity, retiring, watch }: Child, kind: HostEnd): Promise<void> {
    if (workerId === undefined) return;
    const { store, ender, recovery, tell } = this.#options;
    const { emit } = tell;
    const { pid } = identity;
    const reasons: Readonly<Record<HostEnd, string>> = {
      stopped: "the daemon was stopped",
      collateral: `the process was ended because of run ${retiring?.join(", ") ?? "?"}, whose handler did not stop`,
      hung: `its process (pid ${pid}) said nothing for ${inSeconds(watch.hungMs ?? 0)} and was killed`,
      died: `its process (pid ${pid}) died`,
    };
    const evidence = { pid, exited: true, retiring: retiring ?? [], silentMs: watch.hungMs };
    for (let tries = 1; ; tries++) {
      try {
        await settleRunsOfHost(
          [workerId],
          { kind, reason: reasons[kind], evidence },
          { store, ender, emit, recoverySpreadMs: recovery.recoverySpreadMs },
        );
        return;
      } catch (thrown) {
        emit("loop.subject_failed", { loop: "handler-host", subject: `worker ${workerId}`, message: messageOf(thrown) });
        // Judges would take all that shared the process for lost. A stop does not wait.
        if (tries >= settleTries || this.#stopAsked) return;
        await timerPause(settleAgainMs);
      }
    }
  }

  /**
   * A host that had taken work was most likely killed, so it is restarted at once the first few times. One that never got there is backed
   * off.
   */
  #restartDelayMs(served: boolean): DurationMs {
    const { firstMs, maxMs } = this.#options.recovery.restart ?? { firstMs: 500, maxMs: seconds(30) };
    const failures = served ? this.#failures - quickRestarts : this.#failures;
    if (failures <= 0) return Math.min(firstMs, quickRestartMs);
    return Math.min(maxMs, firstMs * 2 ** Math.min(20, failures - 1));
  }

  #beginLater(delayMs?: DurationMs): void {
    if (this.#mode !== "running") return;
    if (delayMs === undefined) this.#failures++;
    this.#restart = setTimeout(() => {
      this.#begin().catch(() => undefined);
    }, delayMs ?? this.#restartDelayMs(false)).unref();
  }

  /** Once per text: the host is restarted again and again, and a person needs to hear only of what is new. */
  #alert(cause: string, title: string): void {
    if (this.#lastAlert === title) return;
    this.#lastAlert = title;
    void this.#options.tell.alert({ cause, title, details: { module: this.#options.setup.modulePath } });
  }
}

/** Deaths in the middle of work, each within a minute of the start, before the delay grows. */
const quickRestarts = 5;
const quickRestartMs: DurationMs = 50;
/** Longer than its own grace, in which it exits by itself. */
const killDelayMs: DurationMs = 500;
