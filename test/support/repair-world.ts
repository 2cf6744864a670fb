import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { asHostId, type HostId, type JobId, type OwnerEpoch, type RunId, type WorkerId } from "../../src/domain/ids.ts";
import { addMs, type DurationMs, type Instant } from "../../src/domain/time.ts";
import { itemDirOf, runDirOf } from "../../src/files/data-paths.ts";
import { directAccess } from "../../src/files/foreign/path-operation.ts";
import { ResultReader } from "../../src/gates/result-reader.ts";
import type { ProcessLife } from "../../src/liveness/evidence.ts";
import { defaultRunThresholds, type RunThresholds } from "../../src/liveness/run-thresholds.ts";
import { newVantage } from "../../src/liveness/vantage.ts";
import { LeaseSweep } from "../../src/loops/leases/lease-sweep.ts";
import { JobReaper, type JobReaperDeps } from "../../src/loops/runs/job-reaper.ts";
import { ReapedRuns } from "../../src/loops/runs/reaped-runs.ts";
import { Stopper } from "../../src/loops/runs/stopper.ts";
import { KnownSessions } from "../../src/loops/sessions/known-sessions.ts";
import { WorkerReaper } from "../../src/loops/sessions/worker-reaper.ts";
import { LoopRunner } from "../../src/loops/skeleton/loop-runner.ts";
import { KnownDaemons } from "../../src/loops/watch/known-daemons.ts";
import { Watcher } from "../../src/loops/watch/watcher.ts";
import { alertsThrough } from "../../src/notify/raise-alert.ts";
import { RunObserver } from "../../src/observe/run-evidence.ts";
import { PresenceRegistry } from "../../src/observe/session-presence.ts";
import type { PipelineDefinition } from "../../src/pipelines/definition.ts";
import type { HostIdentity, ProbeAnswer, ProcessIdentity, ProcessProbe } from "../../src/processes/probe/identity.ts";
import type { ProcessTable } from "../../src/processes/probe/process-table.ts";
import { identityRecord, runFiles } from "../../src/processes/run-folder/run-files.ts";
import type { Finaliser } from "../../src/settling/finaliser.ts";
import type { RunEnder } from "../../src/settling/run-ender.ts";
import { createSettling } from "../../src/settling/settling.ts";
import { firstChecks } from "../../src/store/jobs/claim-rules.ts";
import type { ItemRow } from "../../src/store/port/items.ts";
import type { LiveRun, RunLimits, StoredProcess } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { Emit } from "../../src/telemetry/events.ts";
import { chain, type LoopWorld, loopWorld } from "./loop-world.ts";

/** Answers probes as the test says; no real process is spawned or probed. */
export class FakeProbe implements ProcessProbe {
  looks = 0;
  readonly #lives = new Map<number, ProbeAnswer>();
  readonly #host: HostIdentity;

  constructor(host: HostIdentity) {
    this.#host = host;
  }

  set(pid: number, life: ProcessLife): void {
    if (life === "dead") this.#lives.set(pid, { kind: "dead", why: "no_such_process" });
    else if (life === "unknown") this.#lives.set(pid, { kind: "unknown", why: "unreadable" });
    else this.#lives.set(pid, { kind: life });
  }

  observe(identity: ProcessIdentity): ProbeAnswer {
    this.looks++;
    if (identity.hostId !== this.#host.hostId) return { kind: "unknown", why: "foreign_host" };
    if (identity.bootId !== this.#host.bootId) return { kind: "otherBoot" };
    if (identity.pidNamespace !== this.#host.pidNamespace) return { kind: "unknown", why: "foreign_namespace" };
    return this.#lives.get(identity.pid) ?? { kind: "alive" };
  }

  observeMany(identities: readonly ProcessIdentity[]): readonly ProbeAnswer[] {
    return identities.map((identity) => this.observe(identity));
  }
}

/** A table without processes: whatever is to be stopped is gone already. */
export const emptyTable: ProcessTable = {
  look: () => ({ kind: "absent" }),
  lookMany: (pids) => pids.map(() => ({ kind: "absent" })),
  list: () => [],
  environmentValue: () => undefined,
  ageMs: () => undefined,
  signal: () => "absent",
};

export interface Settings {
  enabled: boolean;
  thresholds: RunThresholds;
  adoption: boolean;
  reclaimEnabled: boolean;
  scope: readonly string[];
  stopWithinMs: DurationMs;
  recoverySpreadMs: DurationMs;
}

/** The repairing loops of one daemon. A second set acts as a restart: only the store and the disk are shared. */
export interface Repairing {
  readonly reaper: JobReaper;
  readonly runner: LoopRunner;
  readonly workers: WorkerReaper;
  readonly stopper: Stopper;
  readonly sweep: LeaseSweep;
  readonly presence: PresenceRegistry;
  readonly daemons: KnownDaemons;
  readonly watcher: Watcher;
  readonly finaliser: Finaliser;
  readonly ender: RunEnder;
  readonly observer: RunObserver;
}

export interface StartOptions {
  readonly queue?: string;
  readonly maxAttempts?: number;
  readonly maxLosses?: number;
  readonly agent?: string;
  readonly repo?: string;
  readonly limits?: RunLimits;
  readonly workerId?: WorkerId;
  /** Of the command; absent: a fresh one. */
  readonly pid?: number;
  /** False: the command has not recorded itself, so the wrapper's process counts. */
  readonly command?: boolean;
  readonly host?: string;
}

export interface StartedRun {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly ownerEpoch: OwnerEpoch;
  readonly pid: number;
  readonly wrapperPid: number;
}

const daySeconds = 86_400;
export const wholeDay: RunLimits = { maxRunningMs: daySeconds * 1000 };

/** The repairing loops over a real store, with processes that live and die as the test says. */
export class RepairWorld {
  readonly world: LoopWorld;
  readonly host: HostIdentity = { hostId: asHostId("host-a"), bootId: "boot-of-host-a", pidNamespace: "ns" };
  readonly probe = new FakeProbe(this.host);
  readonly settings: Settings = {
    enabled: true,
    thresholds: { ...defaultRunThresholds },
    adoption: true,
    reclaimEnabled: true,
    scope: [],
    stopWithinMs: 17_000,
    recoverySpreadMs: 30_000,
  };
  /** The store's verbs that the loops call; a test puts failures here. */
  /** False: the store takes no alert. */
  alertsTaken = true;
  /** Processes that the worker-reaper leaves to their parent. */
  supervised: readonly StoredProcess[] = [];
  readonly seen: { runs: Store["runs"]; workers: Store["workers"]; leases: Store["leases"]; items: Store["items"] };
  readonly adopted: { runId: RunId; why: string }[] = [];
  adopt: JobReaperDeps["adopt"] = async () => false;
  loops: Repairing;
  #workerId: WorkerId | undefined;
  #nextPid = 1000;
  #claims = 0;

  private constructor(world: LoopWorld) {
    this.world = world;
    const { store } = world;
    this.seen = { runs: { ...store.runs }, workers: { ...store.workers }, leases: { ...store.leases }, items: { ...store.items } };
    this.loops = this.restart();
  }

  static async open(
    pipelines: readonly PipelineDefinition[] = [chain("p", ["prep", "ocr"])],
    options: { readonly inMemory?: boolean; readonly url?: string } = {},
  ): Promise<RepairWorld> {
    const world = await loopWorld(pipelines, options);
    await world.store.jobs.ensureQueues([
      { name: "dev", kind: "command" },
      { name: "single", kind: "command", slot: { key: "single", capacity: 1 } },
      { name: "mail", kind: "handler" },
    ]);
    const opened = new RepairWorld(world);
    onTestFinished(() => opened.loops.reaper.idle());
    return opened;
  }

  get store(): Store {
    return this.world.store;
  }

  get now(): Instant {
    return this.world.clock.now();
  }

  advance(ms: DurationMs): void {
    this.world.clock.advance(ms);
  }

  /** A new set of loop objects on the same store: what was in memory is gone. */
  restart(): Repairing {
    const { world, probe, host, seen, settings } = this;
    const { registry, paths, clock } = world;
    const emit: Emit = (name, data) => {
      world.events.push({ name, data });
    };
    const now = (): Instant => clock.now();
    const stored = alertsThrough({ outbox: world.store.outbox, emit });
    const alert: typeof stored = async (one) => this.alertsTaken && (await stored(one));
    const watcher = new Watcher(newVantage(), { emit, alert });
    const presence = new PresenceRegistry();
    const { ender, finaliser } = createSettling({
      store: { runs: seen.runs, items: seen.items, now },
      registry,
      reader: new ResultReader({
        paths,
        hostId: host.hostId,
        baseDir: world.baseDir,
        environment: {},
        access: directAccess,
        gatesAtOnce: 4,
      }),
      random: () => 0.5,
      emit,
      stopWithinMs: () => settings.stopWithinMs,
    });
    const sweep = new LeaseSweep({
      store: { leases: seen.leases, runs: seen.runs },
      probe,
      settings: () => ({ ...settings, deadAfterMs: settings.thresholds.deadAfterMs }),
      ender,
      alert,
    });
    const reaped = new ReapedRuns();
    const daemons = new KnownDaemons({
      // Others may be beside it, on either engine.
      store: { ...world.store, capabilities: { ...world.store.capabilities, manyWriters: true } },
      hostId: host.hostId,
      monoNow: now,
      limits: () => ({ renewMs: 5000, deadAfterMs: settings.thresholds.deadAfterMs }),
    });
    const observer = new RunObserver({ probe, host, paths, presence, daemons, registry });
    const reaper = new JobReaper({
      store: { runs: seen.runs, workers: seen.workers, now },
      host: { identity: host, probe, table: emptyTable },
      registry,
      observer,
      settling: { ender, finaliser },
      shared: { watcher, reaped },
      leaseSweep: sweep,
      alert,
      settings: () => settings,
      adopt: async (run: LiveRun, why: string) => {
        this.adopted.push({ runId: run.id, why });
        return await this.adopt(run, why);
      },
    });
    const runner = new LoopRunner(
      reaper,
      { intervalMs: 50, enabled: () => settings.enabled },
      { now, monoNow: () => clock.now(), random: () => 0.5, emit, alert },
    );
    const workers = new WorkerReaper({
      store: { runs: seen.runs, workers: seen.workers, capabilities: this.store.capabilities },
      host: { probe },
      sessions: new KnownSessions({
        store: { workers: seen.workers, now },
        host: { identity: host },
        deadAfterMs: () => settings.thresholds.deadAfterMs,
      }),
      ender,
      random: () => 0.5,
      alert,
      supervised: () => this.supervised,
      shared: { watcher, presence, reaped },
      settings: () => ({
        recoversJobs: settings.enabled,
        deadAfterMs: settings.thresholds.deadAfterMs,
        recoverySpreadMs: settings.recoverySpreadMs,
      }),
      wakeJobReaper: () => undefined,
    });
    const stopper = new Stopper({
      store: { runs: seen.runs, workers: seen.workers, now },
      host: { identity: host, probe, table: emptyTable, paths, clock: { mono: () => clock.now() } },
      presence,
      alert,
      settings: () => ({
        stopGraceMs: 5000,
        killGraceMs: 2000,
        fenceKillAfterMs: 600_000,
        deadAfterMs: settings.thresholds.deadAfterMs,
      }),
      shielded: () => [],
    });
    this.loops = { reaper, runner, workers, stopper, sweep, presence, daemons, watcher, finaliser, ender, observer };
    return this.loops;
  }

  processOf(pid: number, host = "host-a"): StoredProcess {
    return { hostId: asHostId(host), bootId: `boot-of-${host}`, pidNamespace: "ns", pid, startTime: "12345" };
  }

  /** @param options.via - the host of the daemon that hears it; null: none. Default: this world's. */
  async worker(
    options: { readonly pid?: number; readonly host?: string; readonly kind?: "command" | "handler"; readonly via?: HostId | null } = {},
  ): Promise<WorkerId> {
    const { pid = 50, host = "host-a", kind = "command", via = this.host.hostId } = options;
    const process = this.processOf(pid, host);
    return await this.store.workers.register({ name: "w", kind, process, concurrency: 4, queues: [], via: via ?? undefined });
  }

  async #defaultWorker(): Promise<WorkerId> {
    this.#workerId ??= await this.worker();
    return this.#workerId;
  }

  /** Claims the next job of the queue; undefined when none is claimable. */
  async claim(queue: string, options: Pick<StartOptions, "limits" | "workerId"> = {}) {
    this.#claims++;
    const [run] = await this.store.runs.claim({
      claimId: `c${this.#claims}`,
      workerId: options.workerId ?? (await this.#defaultWorker()),
      claimSeq: this.#claims,
      queues: [{ name: queue, limits: options.limits ?? wholeDay }],
      max: 1,
      startNow: 1,
    });
    return run;
  }

  /** Enqueues a plain job and starts it. */
  async running(options: StartOptions = {}): Promise<StartedRun> {
    const { queue = "dev", maxAttempts, maxLosses, agent, repo } = options;
    await this.store.jobs.enqueue({
      queue,
      maxAttempts,
      maxLosses,
      agent,
      repo,
      jobs: [{}],
    });
    return await this.start({ ...options, queue });
  }

  /** Claims what waits in the queue and starts it, its command recorded. */
  async start(options: StartOptions & { readonly queue: string }): Promise<StartedRun> {
    const claimed = await this.claim(options.queue, options);
    if (claimed === undefined) throw new Error(`nothing is claimable in ${options.queue}`);
    const { runId, jobId, ownerEpoch } = claimed;
    const pid = options.pid ?? this.#nextPid++;
    const wrapperPid = pid + 100_000;
    if (!claimed.started) {
      const startedAt = this.now;
      const limits = options.limits ?? wholeDay;
      const checkAt = firstChecks.firstCheckAt(startedAt, limits);
      const wrapper = this.processOf(wrapperPid, options.host);
      await this.store.runs.start([{ runId, ownerEpoch, startedAt, wrapper, limits, checkAt }]);
      if (options.command !== false) await this.store.runs.recordProcess({ runId, ownerEpoch, process: this.processOf(pid, options.host) });
      else this.#leaveStarted(runId, wrapper);
    }
    return { runId, jobId, ownerEpoch, pid, wrapperPid };
  }

  /** What a wrapper writes before its command runs: without it the folder proves nothing. */
  #leaveStarted(runId: RunId, wrapper: ProcessIdentity): void {
    const runDir = runDirOf(this.world.paths, runId);
    mkdirSync(runDir, { recursive: true });
    writeFileSync(runFiles(runDir).started, identityRecord(runId, wrapper));
  }

  /** Command and wrapper are gone, without an exit record. */
  die(run: StartedRun): void {
    this.probe.set(run.pid, "dead");
    this.probe.set(run.wrapperPid, "dead");
  }

  async exit(run: StartedRun, exitCode: number): Promise<void> {
    this.die(run);
    await this.store.runs.recordExit({ ...run, exitCode, checkAt: addMs(this.now, this.settings.thresholds.finalizeGraceMs) });
  }

  /** The exit record as a wrapper leaves it. */
  leaveRecord(run: StartedRun, status: number | "nogo"): void {
    const runDir = runDirOf(this.world.paths, run.runId);
    mkdirSync(runDir, { recursive: true });
    writeFileSync(runFiles(runDir).exit, `${run.runId} ${status} ${this.host.bootId}\n`);
  }

  async addItem(pipeline = "p", key = "book"): Promise<ItemRow> {
    const { registry, store } = this.world;
    const definition = registry.get(pipeline)?.definition;
    const first = definition === undefined ? undefined : registry.entry(pipeline, definition.first);
    if (first === undefined) throw new Error(`there is no pipeline ${pipeline}`);
    const { item } = await store.items.add({ pipeline, key, dir: key, input: "{}", branch: "feature/x", first, actor: "test" });
    mkdirSync(itemDirOf(this.world.paths, item.dir), { recursive: true });
    return item;
  }

  /** Puts the file for which the stage's gate waits. */
  turnGateGreen(item: ItemRow, file = "green"): void {
    writeFileSync(join(itemDirOf(this.world.paths, item.dir), file), "green");
  }

  /** One tick of the job-reaper, the gates that it reads included. */
  async tick(options: { readonly dryRun?: boolean } = {}) {
    await this.loops.daemons.look();
    const report = await this.loops.runner.tickOnce(options);
    await this.loops.reaper.idle();
    return report;
  }

  /** One tick of the worker-reaper. */
  async tickWorkers() {
    return await this.world.tick(this.loops.workers);
  }

  /** One tick of the stopper, to the end of what it began. */
  async stopBlocked() {
    const report = await this.world.tick(this.loops.stopper);
    await this.loops.stopper.idle();
    return report;
  }

  async job(jobId: JobId) {
    const job = await this.store.jobs.get(jobId);
    if (job === undefined) throw new Error(`there is no job ${jobId}`);
    return job;
  }

  async stateOf({ jobId }: Pick<StartedRun, "jobId">): Promise<string> {
    return (await this.job(jobId)).state;
  }

  async alerts(): Promise<readonly string[]> {
    const rows = await this.store.outbox.due(100);
    return rows.filter((row) => row.kind === "alert").map((row) => row.payload);
  }

  async alertCauses(): Promise<readonly string[]> {
    const rows = await this.store.outbox.due(100);
    return rows.filter((row) => row.kind === "alert").map((row) => row.key);
  }

  details() {
    return this.loops.reaper.details();
  }
}
