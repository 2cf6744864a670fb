import { setMaxListeners } from "node:events";
import type { LoopSettings, LoopSwitch } from "../../config/loop-settings.ts";
import { messageOf } from "../../domain/errors.ts";
import type { JobId } from "../../domain/ids.ts";
import { addMs, type DurationMs, type Instant, minutes, seconds } from "../../domain/time.ts";
import { runDirOf } from "../../files/data-paths.ts";
import { diedWithEarlierBoot, isSessionOver } from "../../liveness/death-proof.ts";
import type { ProcessLife } from "../../liveness/evidence.ts";
import type { RaiseAlert, Tell } from "../../notify/raise-alert.ts";
import type { PresenceRegistry } from "../../observe/session-presence.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { Host } from "../../processes/probe/host.ts";
import { commandOnRecord, type ProcessIdentity } from "../../processes/probe/identity.ts";
import { readExitRecord } from "../../processes/run-folder/exit-record.ts";
import { probeLifePipe } from "../../processes/run-folder/life-pipe.ts";
import { limitRunLogs } from "../../processes/run-folder/limit-run-logs.ts";
import { readCommand } from "../../processes/run-folder/run-files.ts";
import { stopTree } from "../../processes/stopping/stop-tree.ts";
import type { RunTree } from "../../processes/stopping/strays.ts";
import type { BlockedJob, RunScope } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Loop, TickContext, TickReport } from "../skeleton/loop.ts";
import type { StopperReport } from "../skeleton/loop-reports.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "../skeleton/loop-spec.ts";

export interface StopperDeps {
  readonly store: Pick<Store, "runs" | "workers" | "now">;
  readonly host: Pick<Host, "identity" | "probe" | "table" | "paths"> & { readonly clock: Pick<Host["clock"], "mono"> };
  readonly presence: PresenceRegistry;
  readonly alert: RaiseAlert;
  readonly settings: () => StopperSettings;
  /** Sessions of this host, which are never signalled, nor are their descendants. */
  readonly shielded: () => readonly ProcessIdentity[];
  /** Stops what lives of runs that have ended, blocked by nothing. Called at the first tick, then each minute. Never rejects. */
  readonly stopEnded?: (() => Promise<unknown>) | undefined;
  /** Stages by their queue, for the size of their logs. Absent: no commands are run here. */
  readonly registry?: Pick<PipelineRegistry, "stageOfQueue"> | undefined;
}

interface StopperSettings {
  readonly stopGraceMs: DurationMs;
  readonly killGraceMs: DurationMs;
  readonly fenceKillAfterMs: DurationMs;
  /** How long a session may be silent before its host is no longer trusted to stop its own processes. */
  readonly deadAfterMs: DurationMs;
  /** Whose processes it stops. Absent: everybody's. */
  readonly whose?: RunScope | undefined;
}

const pageSize = 200;
const atOnce = 50;
const listenersOfOthersMax = 10;
/** How often this host looks for what lives of ended runs. */
const endedEveryMs: DurationMs = minutes(1);
/** How soon a surviving process is stopped again. */
const againMs: DurationMs = 5000;

/**
 * Stops the processes of runs that have ended or were taken, and releases their jobs only with proof. Stopping takes seconds, so it
 * continues between ticks; the block in the store survives a crash.
 */
export class Stopper implements Loop<"stopper"> {
  readonly name = "stopper";
  readonly #deps: StopperDeps;
  readonly #stopping = new Map<JobId, Promise<void>>();
  readonly #retryAt = new Map<JobId, Instant>();
  readonly #toldUnstoppable = new Set<JobId>();
  /** What the last attempt left of each, for people who ask. */
  readonly #remains = new Map<JobId, string>();
  /** Each is read at most once per tick. */
  #aliveWorkers: ReturnType<Store["workers"]["listAlive"]> | undefined;
  #hostConflicts: ReturnType<Store["workers"]["listHostConflicts"]> | undefined;
  #stoppedTotal = 0;
  #endedAgainAt: Instant | undefined;
  #stoppingEnded: Promise<unknown> | undefined;
  readonly #hurry = new AbortController();

  constructor(deps: StopperDeps) {
    this.#deps = deps;
  }

  details(): StopperReport {
    return { stoppedTotal: this.#stoppedTotal, stopping: this.#stopping.size, remains: Object.fromEntries(this.#remains) };
  }

  /** Skips the grace from now on, because a person asked twice. */
  hurry(): void {
    this.#hurry.abort();
  }

  async idle(): Promise<void> {
    await this.#stoppingEnded;
    while (this.#stopping.size > 0) await Promise.all(this.#stopping.values());
  }

  async tick(context: TickContext): Promise<TickReport> {
    if (!context.dryRun) this.#stopEnded(context.now);
    const blocked = await this.#listBlocked();
    const present = new Set(blocked.map((job) => job.jobId));
    for (const jobId of this.#retryAt.keys()) if (!present.has(jobId)) this.#retryAt.delete(jobId);
    for (const jobId of this.#toldUnstoppable) if (!present.has(jobId)) this.#toldUnstoppable.delete(jobId);
    for (const jobId of this.#remains.keys()) if (!present.has(jobId)) this.#remains.delete(jobId);
    const would: string[] = [];
    this.#aliveWorkers = undefined;
    this.#hostConflicts = undefined;
    // Every stop in progress listens to this one signal; Node warns of a leak beyond ten listeners.
    setMaxListeners(atOnce + listenersOfOthersMax, context.signal);
    for (const job of blocked) {
      if (this.#stopping.has(job.jobId) || (this.#retryAt.get(job.jobId) ?? 0) > context.now) continue;
      if (context.dryRun) {
        would.push(`job ${job.jobId}: stop attempt ${job.run.attempt}`);
        continue;
      }
      try {
        if (await this.#settledWithoutStopping(job, context)) continue;
      } catch (thrown) {
        this.#failed(job, thrown, context);
        continue;
      }
      if (this.#stopping.size >= atOnce) continue;
      const work = this.#stopTree(job, context)
        .catch((thrown: unknown) => this.#failed(job, thrown, context))
        .finally(() => this.#stopping.delete(job.jobId));
      this.#stopping.set(job.jobId, work);
    }
    return { seen: blocked.length, settled: 0, lost: 0, failed: 0, would: context.dryRun ? would : undefined };
  }

  /** Takes as long as graces do, so it goes on between ticks. */
  #stopEnded(now: Instant): void {
    if (this.#stoppingEnded !== undefined || now < (this.#endedAgainAt ?? now)) return;
    this.#endedAgainAt = addMs(now, endedEveryMs);
    this.#stoppingEnded = this.#deps.stopEnded?.().finally(() => {
      this.#stoppingEnded = undefined;
    });
  }

  /** Lists all, so that jobs which can only wait do not keep the others from their turn. */
  async #listBlocked(): Promise<readonly BlockedJob[]> {
    const blocked: BlockedJob[] = [];
    const only = this.#deps.settings().whose?.only;
    for (;;) {
      const page = await this.#deps.store.runs.listBlocked({ only, limit: pageSize, after: blocked.at(-1)?.jobId });
      blocked.push(...page);
      if (page.length < pageSize) return blocked;
    }
  }

  #failed(job: BlockedJob, thrown: unknown, context: TickContext): void {
    context.emit("loop.subject_failed", { loop: this.name, subject: `job ${job.jobId}`, message: messageOf(thrown) });
    this.#retryAt.set(job.jobId, addMs(context.now, againMs));
  }

  /** True when nothing can be stopped from here, whether the job was released or must wait. Takes no time, and no place. */
  async #settledWithoutStopping(job: BlockedJob, context: TickContext): Promise<boolean> {
    const { run } = job;
    if (run.kind === "handler") {
      await this.#awaitHandlerHost(job, context);
      return true;
    }
    const process = run.process ?? run.wrapper;
    if (process === null) {
      await this.#release(job, "it never had a process", 0, context);
      return true;
    }
    const life = this.#deps.host.probe.observe(process).kind;
    if (await this.#endedWithItsBoot(job, life)) await this.#release(job, "its host was started again since", 0, context);
    else if (life === "unknown" || life === "otherBoot") await this.#awaitFence(job, context);
    else return false;
    return true;
  }

  /** Tier 0 for a process of the run. A session without a row was last heard when it claimed. */
  async #endedWithItsBoot({ supervisor, run }: BlockedJob, life: ProcessLife): Promise<boolean> {
    if (life !== "otherBoot") return false;
    const { store, settings, host } = this.#deps;
    const { deadAfterMs } = settings();
    const now = store.now();
    this.#hostConflicts ??= store.workers.listHostConflicts(addMs(now, -deadAfterMs));
    const hostConflict = (await this.#hostConflicts).includes(host.identity.hostId);
    return diedWithEarlierBoot({ life, heardAt: supervisor?.lastHeardAt ?? run.reservedAt, hostConflict }, { deadAfterMs }, now);
  }

  async #stopTree(job: BlockedJob, context: TickContext): Promise<void> {
    const { run } = job;
    const { host, shielded, settings } = this.#deps;
    const { identity, table, clock, paths } = host;
    const { stopGraceMs, killGraceMs } = settings();
    const runDir = runDirOf(paths, run.id);
    const tree: RunTree = {
      runId: run.id,
      host: identity,
      table,
      command: (await readCommand({ runDir, runId: run.id })) ?? commandOnRecord(run),
      wrapper: run.wrapper ?? undefined,
      shielded: shielded(),
    };
    const { signal } = context;
    const result = await stopTree(tree, { clock, runDir, stopGraceMs, killGraceMs, signal, hurry: this.#hurry.signal });
    if (result.stopped) {
      const { gone, tookMs, lifePipe } = result.proof;
      await this.#release(job, `${gone.length} processes gone after ${Math.round(tookMs)} ms, life pipe ${lifePipe}`, tookMs, context);
      return;
    }
    this.#retryAt.set(job.jobId, addMs(this.#deps.store.now(), againMs));
    this.#remains.set(job.jobId, result.remains);
    await this.#tellUnstoppable(job, { survivors: result.survivors.map((survivor) => survivor.pid), remains: result.remains }, context);
  }

  /** A handler ends with its slot or its host: the host says that it no longer holds the run, or is dead. */
  async #awaitHandlerHost(job: BlockedJob, context: TickContext): Promise<void> {
    const { presence, host } = this.#deps;
    const { supervisor, run } = job;
    if (supervisor === null) {
      await this.#release(job, "its session is unknown to the store", 0, context);
      return;
    }
    const life = host.probe.observe(supervisor.process).kind;
    // Gone in this boot: a clone of this machine has another, so no conflict of hosts makes that doubtful.
    if (life === "dead" || (await this.#endedWithItsBoot(job, life)))
      await this.#release(job, `its host, pid ${supervisor.process.pid}, is dead`, 0, context);
    else if (presence.hasLetGo(supervisor.workerId, run.id, run.endedAt ?? run.reservedAt))
      await this.#release(job, "its host has let go of it", 0, context);
    // Its session is over, so no message comes, and nothing can be probed from here.
    else if (life !== "alive" && isSessionOver(supervisor.state)) await this.#awaitFence(job, context);
    // Another boot that is heard: it falls silent soon, or is another machine whose own stopper knows more.
    else if (life !== "otherBoot") {
      const remains = `its handler, in the process ${supervisor.process.pid}, has not let go of it`;
      this.#remains.set(job.jobId, remains);
      await this.#tellUnstoppable(job, { survivors: [supervisor.process.pid], remains }, context);
    }
  }

  /** Nothing can be probed from here: past the bound of its own fence the process has certainly stopped. */
  async #awaitFence(job: BlockedJob, context: TickContext): Promise<void> {
    const { settings, store, host } = this.#deps;
    const { identity, paths } = host;
    const { process } = job.run;
    // A life pipe belongs to one kernel: that of another boot proves nothing here, whoever holds it.
    const isOfThisBoot = process !== null && process.hostId === identity.hostId && process.bootId === identity.bootId;
    const runDir = runDirOf(paths, job.run.id);
    const lifePipe = isOfThisBoot ? await probeLifePipe(runDir) : "unknown";
    if (lifePipe === "released") {
      await this.#release(job, "nothing holds its life pipe any more", 0, context);
      return;
    }
    // Of a run without a pipe, as an earlier version of `wakeful run` had: its own record proves its end.
    if (isOfThisBoot && lifePipe === "unknown" && (await readExitRecord({ runDir, runId: job.run.id })).kind === "exit") {
      await this.#release(job, "its exit is on record", 0, context);
      return;
    }
    if (process !== null && !isOfThisBoot && (await this.#isLookedAfter(process))) return;
    const fencedAt = job.stopBy + settings().fenceKillAfterMs;
    if (store.now() < fencedAt) return;
    await this.#release(job, "its host cannot be probed and its fence has passed", 0, context);
    const details = { jobId: job.jobId, runId: job.run.id };
    await this.#deps.alert({
      cause: `fence:${job.run.id}`,
      title: `Attempt ${job.run.attempt} of job ${job.jobId} was given up behind its fence`,
      details,
    });
  }

  /** A host that is heard has a stopper of its own, which sees more than this one; a host id counts only under its own boot. */
  async #isLookedAfter({ hostId, bootId }: ProcessIdentity): Promise<boolean> {
    const { store, settings, host } = this.#deps;
    const heardSince = store.now() - settings().deadAfterMs;
    this.#aliveWorkers ??= store.workers.listAlive();
    const workers = await this.#aliveWorkers;
    return workers.some(
      ({ process, kind, lastHeardAt }) =>
        process.hostId === hostId &&
        (hostId !== host.identity.hostId || process.bootId === bootId) &&
        kind === "command" &&
        lastHeardAt >= heardSince,
    );
  }

  async #tellUnstoppable(
    job: BlockedJob,
    left: { readonly survivors: readonly number[]; readonly remains: string },
    context: TickContext,
  ): Promise<void> {
    if (this.#deps.store.now() < job.stopBy || this.#toldUnstoppable.has(job.jobId)) return;
    this.#toldUnstoppable.add(job.jobId);
    const ref = { runId: job.run.id, jobId: job.jobId, queue: job.queue };
    context.emit("run.unstoppable", { ...ref, ...left });
    await this.#deps.alert({
      cause: `unstoppable:${job.run.id}`,
      title: `Attempt ${job.run.attempt} of job ${job.jobId} cannot be stopped (${left.remains}); end it by hand, or \`wakeful unhold --force ${job.jobId}\``,
      details: { jobId: job.jobId, runId: job.run.id, ...left },
    });
  }

  async #release(job: BlockedJob, proof: string, tookMs: DurationMs, context: TickContext): Promise<void> {
    const [cleared] = await this.#deps.store.runs.clearBlocks([{ jobId: job.jobId, runId: job.run.id, proof, actor: this.name }]);
    this.#retryAt.delete(job.jobId);
    this.#toldUnstoppable.delete(job.jobId);
    this.#remains.delete(job.jobId);
    if (cleared !== true) return;
    this.#stoppedTotal++;
    await this.#limitLogs(job, context);
    context.emit("run.stopped", { runId: job.run.id, jobId: job.jobId, queue: job.queue, proof, tookMs });
  }

  /** What a run says while it is being stopped is looked at by nobody else. */
  async #limitLogs({ jobId, queue, run }: BlockedJob, { emit }: TickContext): Promise<void> {
    const { host, registry } = this.#deps;
    const maxBytes = registry?.stageOfQueue(queue)?.stage.log.maxBytes;
    if (maxBytes === undefined) return;
    try {
      const cut = await limitRunLogs({ runDir: runDirOf(host.paths, run.id), maxBytes });
      for (const log of cut) emit("log.truncated", { runId: run.id, jobId, queue, ...log });
    } catch (thrown) {
      emit("loop.subject_failed", { loop: this.name, subject: `logs of run ${run.id}`, message: messageOf(thrown) });
    }
  }
}

/** What a process that runs the stopper builds it of. */
export interface StopperParts extends LoopParts, Pick<StopperDeps, "store" | "host" | "registry"> {
  readonly shared: { readonly presence: PresenceRegistry; readonly whose: () => RunScope | undefined };
  readonly work: Pick<StopperDeps, "shielded" | "stopEnded">;
  readonly tell: Tell;
  readonly settings: () => LoopSwitch<"stopper"> &
    Pick<LoopSettings, "stop"> & { readonly worker: Pick<LoopSettings["worker"], "deadAfterMs" | "fenceKillAfterMs"> };
}

export const stopperSpec: LoopSpec<"stopper", StopperParts, Stopper> = {
  name: "stopper",
  kind: "host",
  intervalMs: () => seconds(1),
  enabled: ownSwitch("stopper"),
  wokenBy: ["blocked"],
  build: ({ store, host, registry, shared, work, tell, settings }) =>
    new Stopper({
      store,
      host,
      registry,
      shielded: work.shielded,
      stopEnded: work.stopEnded,
      presence: shared.presence,
      alert: tell.alert,
      settings: () => {
        const { stop, worker } = settings();
        return { ...stop, deadAfterMs: worker.deadAfterMs, fenceKillAfterMs: worker.fenceKillAfterMs, whose: shared.whose() };
      },
    }),
};
