import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { HostId, JobId, RunId, WorkerId } from "../../src/domain/ids.ts";
import { addMs, asInstant, type DurationMs, type Instant } from "../../src/domain/time.ts";
import { itemDirOf, runDirOf } from "../../src/files/data-paths.ts";
import { directAccess } from "../../src/files/foreign/path-operation.ts";
import { PathDevices } from "../../src/files/path-devices.ts";
import { ResultReader } from "../../src/gates/result-reader.ts";
import { defaultRunThresholds } from "../../src/liveness/run-thresholds.ts";
import { newVantage } from "../../src/liveness/vantage.ts";
import { LeaseSweep } from "../../src/loops/leases/lease-sweep.ts";
import { JobReaper } from "../../src/loops/runs/job-reaper.ts";
import { ReapedRuns } from "../../src/loops/runs/reaped-runs.ts";
import { Stopper } from "../../src/loops/runs/stopper.ts";
import { Watcher } from "../../src/loops/watch/watcher.ts";
import { alertsThrough } from "../../src/notify/raise-alert.ts";
import { RunObserver } from "../../src/observe/run-evidence.ts";
import { PresenceRegistry } from "../../src/observe/session-presence.ts";
import type { StageDefinition } from "../../src/pipelines/definition.ts";
import type { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import { createProcessProbe, type HostIdentity, type ProcessIdentity, type ProcessProbe } from "../../src/processes/probe/identity.ts";
import { linuxProcessTable, type ProcessTable } from "../../src/processes/probe/process-table.ts";
import { readCommand, runFiles } from "../../src/processes/run-folder/run-files.ts";
import { findStrays } from "../../src/processes/stopping/strays.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { ExitDecider } from "../../src/settling/exit-decider.ts";
import { Finaliser } from "../../src/settling/finaliser.ts";
import type { ItemRow } from "../../src/store/port/items.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { Emit } from "../../src/telemetry/events.ts";
import { type AdoptionReport, adoptOrRequeue } from "../../src/worker/adoption.ts";
import type { CommandRunDeps } from "../../src/worker/commands/command-run-deps.ts";
import { CommandWorker } from "../../src/worker/commands/command-worker.ts";
import { StartTroubles } from "../../src/worker/commands/start-troubles.ts";
import { EndedRuns } from "../../src/worker/ended-runs.ts";
import { stopUnknownRuns } from "../../src/worker/unknown-runs.ts";
import type { WorkerBackend } from "../../src/worker/worker-backend.ts";
import { type ShellName, toolsOf } from "./command-run.ts";
import { enderOf } from "./ender.ts";
import { chain, type LoopWorld, loopWorld } from "./loop-world.ts";
import { until } from "./until.ts";
import { serviceOf, withVerbs } from "./worker-service.ts";

const path = "/usr/local/bin:/usr/bin:/bin";

export interface WorkerOptions {
  readonly concurrency?: number;
  /** A supervisor whose process is dead already: its session has the identity of a process that never existed. */
  readonly dead?: boolean;
  /** What its daemon declares; absent: what the world was made with. */
  readonly registry?: PipelineRegistry;
  /** What its host's clock says of itself. Default: the system's. */
  readonly hostTime?: () => number;
  /** Replaces some of the service's verbs for this worker. */
  readonly backend?: (direct: WorkerBackend) => Partial<WorkerBackend>;
}

export interface CommandWorld {
  readonly world: LoopWorld;
  readonly store: Store;
  readonly host: HostIdentity;
  readonly probe: ProcessProbe;
  readonly table: ProcessTable;
  readonly reaper: JobReaper;
  readonly stopper: Stopper;
  readonly presence: PresenceRegistry;
  /** A worker with a session of its own, not yet claiming. */
  worker(options?: WorkerOptions): Promise<{ readonly worker: CommandWorker; readonly workerId: WorkerId; start(): void }>;
  /** Adds an item whose first stage runs. */
  addItem(key?: string, pipeline?: string): Promise<ItemRow>;
  job(itemId: ItemRow["id"]): Promise<Awaited<ReturnType<Store["items"]["jobs"]>>[number]>;
  runOf(item: ItemRow, attempt?: number): Promise<NonNullable<Awaited<ReturnType<Store["runs"]["get"]>>>>;
  command(runId: RunId): Promise<ProcessIdentity>;
  adoptOrRequeue(worker: CommandWorker, options?: { readonly enabled?: boolean }): Promise<AdoptionReport>;
  tickReaper(): Promise<void>;
  stopBlocked(): Promise<void>;
  file(item: ItemRow, name: string, content: string): void;
  advance(ms: DurationMs): void;
}

export interface CommandWorldOptions {
  readonly stage?: Partial<StageDefinition>;
  readonly shell?: ShellName;
  readonly host?: HostId;
  /** How long a killed process may take to end. The default is longer than any machine needs: set it lower for what cannot be stopped. */
  readonly killGraceMs?: DurationMs;
}

/**
 * Real commands under real wrappers, with a real store whose clock only the test moves. When the test ends, everything that its runs
 * started is killed.
 */
export async function commandWorld(
  script: string | { readonly [stage: string]: string },
  options: CommandWorldOptions = {},
): Promise<CommandWorld> {
  const scripts = typeof script === "string" ? { work: script } : script;
  const definition = chain("p", Object.keys(scripts), { stage: { retry: { minMs: 0, maxMs: 0, factor: 2 }, ...options.stage } });
  const stages = Object.fromEntries(
    Object.entries(definition.stages).map(([name, stage]) => [
      name,
      { ...stage, run: { kind: "command", argv: ["/bin/sh", "-c", scripts[name] ?? ""] } as const },
    ]),
  );
  const world = await loopWorld([{ ...definition, stages }]);
  const { store, paths, registry, clock } = world;
  const tools = await toolsOf(options.shell ?? "dash");
  if (tools === undefined) throw new Error(`${options.shell ?? "dash"} is not installed`);
  const table = linuxProcessTable();
  const host = await readHostIdentity({ stateDir: paths.dataDir, randomId: () => `test-${process.pid}` });
  const probe = createProcessProbe({ host, table });
  const now = (): Instant => clock.now();
  const mono = { mono: () => performance.now() };
  const emit: Emit = (name, data) => {
    world.events.push({ name, data });
  };
  const random = (): number => 0.5;
  const reader = new ResultReader({
    paths,
    hostId: host.hostId,
    baseDir: world.baseDir,
    environment: { PATH: path },
    access: directAccess,
    gatesAtOnce: 2,
  });
  const decider = new ExitDecider({ registry, versions: store.items, random, now });
  const finaliser = new Finaliser({ items: store.items, reader, decider, now });
  const stop = { stopGraceMs: 300, killGraceMs: options.killGraceMs ?? 60_000 };
  const stopWithinMs = 12_300;
  const ender = enderOf({ store, registry, random, emit, stopWithinMs: () => stopWithinMs });
  const sight = table.look(process.pid);
  if (sight.kind !== "seen") throw new Error("this process cannot see itself");
  const self: ProcessIdentity = { ...host, pid: process.pid, startTime: sight.row.startTime };
  const shielded = () => [self];
  const presence = new PresenceRegistry();
  const alert = alertsThrough({ outbox: store.outbox, emit });
  const watcher = new Watcher(newVantage(), { emit, alert });
  const workers: CommandWorker[] = [];
  let made = 0;
  let adopter: CommandWorker | undefined;
  const observer = new RunObserver({
    daemons: { isLiving: () => false },
    probe,
    host,
    paths,
    presence,
    registry,
  });
  const reaper = new JobReaper({
    store,
    host: { identity: host, probe, table },
    registry,
    observer,
    settling: { ender, finaliser },
    shared: { watcher, reaped: new ReapedRuns() },
    leaseSweep: new LeaseSweep({
      store,
      probe,
      settings: () => ({
        reclaimEnabled: true,
        scope: [],
        deadAfterMs: 30_000,
      }),
      ender,
      alert,
    }),
    alert,
    settings: () => ({
      thresholds: defaultRunThresholds,
      adoption: true,
      recoverySpreadMs: 30_000,
    }),
    adopt: async (run, why) => (await adopter?.adopt(run, why)) ?? false,
  });
  const ended = new EndedRuns({ store, registry, host: { identity: host, table, paths, clock: mono }, stop, shielded, emit });
  const stopper = new Stopper({
    store,
    stopEnded: () => ended.stopAll(),
    host: { identity: host, probe, table, paths, clock: mono },
    presence,
    alert,
    shielded,
    settings: () => ({
      ...stop,
      fenceKillAfterMs: 6e5,
      deadAfterMs: 30_000,
    }),
  });

  onTestFinished(async () => {
    for (const worker of workers) await worker.leave();
    await reaper.idle();
    await stopper.idle();
    const runs = world.events.flatMap((event) => (event.name === "run.started" ? [(event.data as { runId: RunId }).runId] : []));
    for (const runId of new Set(runs)) await killAll(runId);
  });
  const killAll = async (runId: RunId): Promise<void> => {
    const runDir = runDirOf(paths, runId);
    const wrapper = (await store.runs.get(runId).catch(() => undefined))?.wrapper ?? undefined;
    await until(
      async () => {
        const command = await readCommand({ runDir, runId });
        const left = findStrays({ runId, host, table, command, wrapper, endedAgoMs: 0 }).map((each) => each.pid);
        if (wrapper !== undefined && probe.observe(wrapper).kind === "alive") left.push(wrapper.pid);
        for (const pid of left) table.signal(pid, "SIGKILL");
        return left.length === 0;
      },
      { what: `run ${runId} to be gone` },
    );
  };

  const opened: CommandWorld = {
    world,
    store,
    host,
    probe,
    table,
    reaper,
    stopper,
    presence,
    worker: async ({ concurrency = 8, dead = false, registry: declared = registry, hostTime, backend: verbs = () => ({}) } = {}) => {
      made++;
      const identity = dead
        ? {
            ...self,
            startTime: "1",
          }
        : self;
      const direct = serviceOf({ store, registry: declared, emit, ender, decider }).connect();
      const backend = withVerbs(direct, verbs(direct));
      const hello = { helloId: `w${made}`, name: `w${made}`, kind: "command", process: identity, concurrency, queues: [] } as const;
      const workerId = await direct.hello(hello);
      const deps: CommandRunDeps = {
        backend,
        reader,
        launch: {
          tools,
          baseDir: world.baseDir,
          environment: { PATH: path },
          access: directAccess,
          devices: new PathDevices(directAccess),
        },
        starts: new StartTroubles({ tell: { emit, alert: async () => true }, monoNow: () => performance.now(), hostId: host.hostId }),
        host: { identity: host, probe, table, paths, clock: hostTime === undefined ? systemClock() : { ...systemClock(), boot: hostTime } },
        stop,
        ended,
        goWithinMs: 15_000,
        shielded,
        emit,
      };
      const prefix = `${made}-`;
      let claims = 0;
      const worker = new CommandWorker({
        deps,
        registry: declared,
        concurrency,
        onPoll: (listener) => {
          const timer = setInterval(listener, 20);
          return () => clearInterval(timer);
        },
        newId: () => `${prefix}${++claims}`,
      });
      workers.push(worker);
      worker.useSession(workerId);
      adopter = worker;
      const start = (): void => worker.start({ workerId, url: undefined });
      return {
        worker,
        workerId,
        start,
      };
    },
    addItem: async (key = "book", pipeline = "p") => {
      const first = registry.entry(pipeline, definition.first);
      if (first === undefined) throw new Error(`there is no pipeline ${pipeline}`);
      const { item } = await store.items.add({
        pipeline,
        key,
        dir: key,
        input: '{"n":1}',
        first,
        actor: "test",
      });
      mkdirSync(itemDirOf(paths, item.dir), { recursive: true });
      return item;
    },
    job: async (itemId) => {
      const job = (await store.items.jobs(itemId)).at(-1);
      if (job === undefined) throw new Error(`item ${itemId} has no job`);
      return job;
    },
    runOf: async (item, attempt = 1) => {
      const [job] = await store.items.jobs(item.id);
      const run = (await store.runs.ofJob(job?.id as JobId)).find((each) => each.attempt === attempt);
      if (run === undefined) throw new Error(`item ${item.id} has no attempt ${attempt}`);
      return run;
    },
    command: async (runId) =>
      await until(
        async () =>
          await readCommand({
            runDir: runDirOf(paths, runId),
            runId,
          }),
        {
          everyMs: 5,
          what: `the command of run ${runId}`,
        },
      ),
    adoptOrRequeue: async (worker, { enabled = true } = {}) =>
      await adoptOrRequeue({
        store,
        hostId: host.hostId,
        observer,
        probe,
        settings: { thresholds: defaultRunThresholds, adoption: enabled, recoverySpreadMs: 30_000 },
        ender,
        adopt: (run, why) => worker.adopt(run, why),
        stopUnknown: () => stopUnknownRuns({ store, host, table, paths, clock: mono, shielded, ...stop, emit }),
        emit,
      }),
    tickReaper: async () => {
      await world.tick(reaper);
      await reaper.idle();
    },
    stopBlocked: async () => {
      await world.tick(stopper);
      await stopper.idle();
    },
    file: (item, name, content) => writeFileSync(join(itemDirOf(paths, item.dir), name), content),
    advance: (ms) => void clock.advance(ms),
  };
  return opened;
}

export const filesOf = (world: CommandWorld, runId: RunId) => runFiles(runDirOf(world.world.paths, runId));
export const inMs = (world: CommandWorld, ms: DurationMs): Instant => addMs(asInstant(world.world.clock.now()), ms);
