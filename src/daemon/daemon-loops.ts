import type { Config } from "../config/config.ts";
import type { LiveSettings } from "../config/live-settings.ts";
import type { LoopName } from "../config/loop-names.ts";
import { messageOf, WakefulError } from "../domain/errors.ts";
import type { DurationMs, Instant } from "../domain/time.ts";
import type { DataPaths } from "../files/data-paths.ts";
import { createIntakeLoop } from "../intake/intake-loop.ts";
import { SourceKeeper } from "../item-files/kept-source.ts";
import { createStateFileDeliverer } from "../item-files/state-file.ts";
import { defaultRunThresholds } from "../liveness/run-thresholds.ts";
import { type Vantage, wakeVantage } from "../liveness/vantage.ts";
import { createReconcilerLoop } from "../loops/items/reconciler.ts";
import { LeaseSweep } from "../loops/leases/lease-sweep.ts";
import { createOutboxLoop } from "../loops/outbox.ts";
import { createRetentionLoop } from "../loops/retention/retention.ts";
import { JobReaper } from "../loops/runs/job-reaper.ts";
import { Reaped } from "../loops/runs/reaped-runs.ts";
import { Stopper } from "../loops/runs/stopper.ts";
import { createSchedulerLoop, schedulerIntervalMs } from "../loops/scheduler.ts";
import { RenewalListener } from "../loops/sessions/renewal-listener.ts";
import { WorkerReaper } from "../loops/sessions/worker-reaper.ts";
import { createLoopsWatch } from "../loops/skeleton/late-loops.ts";
import type { Loop, TickReport } from "../loops/skeleton/loop.ts";
import { LoopRunner } from "../loops/skeleton/loop-runner.ts";
import { LoopSet } from "../loops/skeleton/loop-set.ts";
import type { Pulse } from "../loops/skeleton/pulse.ts";
import { ClockWatch } from "../loops/watch/clock-watch.ts";
import { DiskWatch } from "../loops/watch/disk-watch.ts";
import { LoopLag } from "../loops/watch/loop-lag.ts";
import { StoreHearing } from "../loops/watch/store-watch.ts";
import { Watcher } from "../loops/watch/watcher.ts";
import { alertsFile, createAlertDeliverer } from "../notify/alerts.ts";
import { alertsThrough } from "../notify/raise-alert.ts";
import { RunObserver } from "../observe/run-evidence.ts";
import { PresenceBook } from "../observe/session-presence.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { HostIdentity, ProcessIdentity, ProcessProbe } from "../processes/probe/identity.ts";
import type { ProcessTable } from "../processes/probe/process-table.ts";
import type { HostClock } from "../runtime/clock.ts";
import type { Finaliser } from "../settling/finaliser.ts";
import type { RunEnder } from "../settling/run-ender.ts";
import type { LiveRun } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";

export interface RepairsDeps {
  readonly store: Store;
  readonly config: Config;
  readonly live: LiveSettings;
  readonly registry: PipelineRegistry;
  readonly finaliser: Finaliser;
  readonly ender: RunEnder;
  readonly host: HostIdentity;
  readonly probe: ProcessProbe;
  readonly table: ProcessTable;
  readonly paths: DataPaths;
  readonly clock: HostClock;
  readonly emit: Emit;
  readonly random: () => number;
  /** Beats once a second. */
  readonly pulse: Pulse;
  /** A new id, safe as a file name and never given before. */
  readonly newId: () => string;
  readonly shielded: () => readonly ProcessIdentity[];
  /** The newest instant at which the previous daemon is known to have lived. */
  readonly lastAliveAt: Instant | undefined;
  readonly adopt: (run: LiveRun, why: string) => Promise<boolean>;
}

/** All loops of a daemon with what they share: presence, vantage, clocks and disk. */
export interface Repairs {
  readonly loops: LoopSet;
  readonly presence: PresenceBook;
  /** Hears what the sessions of this daemon say of themselves. */
  readonly renewals: RenewalListener;
  /** How late the event loop was since this was last asked. */
  loopLagMs(): DurationMs | undefined;
  readonly disk: DiskWatch;
  readonly watcher: Watcher;
  /** Processes of the sessions that were alive at the last look, this daemon's and others'. */
  sessions(): readonly ProcessIdentity[];
  /** Looks now: a session that was just registered is known from here on. */
  lookAtSessions(): Promise<void>;
  start(): void;
  /**
   * One tick now, when a person asks for it; undefined: there is no such loop.
   *
   * @throws {WakefulError} `unavailable` before {@link Repairs.start}: the start-up requeue judges first (B-5).
   */
  runOnce(name: LoopName, options: { readonly dryRun: boolean }): Promise<TickReport | undefined>;
  /** Stops what is blocked now and resolves when it is proved stopped, or after `timeoutMs`. */
  stopBlocked(timeoutMs: DurationMs): Promise<void>;
  /** What is being stopped, and what will be, is killed without its grace. */
  hurry(): void;
  stop(): Promise<void>;
}

const vantageSetting = "vantage";
/** How often the vantage is written down for the next daemon, when it has changed. */
const vantageKeepMs: DurationMs = 10_000;
const loopStopMs: DurationMs = 5000;

export async function createRepairs(deps: RepairsDeps): Promise<Repairs> {
  const { store, config, live, registry, finaliser, ender, host, probe, table, paths, clock, emit, random, pulse, shielded } = deps;
  const alert = alertsThrough({ outbox: store.outbox, emit });
  const now = store.now();
  const previous = parseVantage(await store.upkeep.setting(vantageSetting), emit);
  const watcher = new Watcher(
    wakeVantage({ previous, lastAliveAt: deps.lastAliveAt, now, settings: { reannounceMs: 2 * config.worker.renewMs } }),
    { emit, alert },
  );
  const presence = new PresenceBook();
  const lag = new LoopLag({ monoNow: () => clock.mono(), periodMs: pulse.periodMs });
  const renewals = new RenewalListener({ store, presence, emit, wakeJobReaper: () => loops.wake("job-reaper") });
  const disk = new DiskWatch({
    dataDir: config.dataDir,
    minFreeBytes: config.disk.minFreeBytes,
    ballastBytes: config.disk.ballastBytes,
    emit,
  });
  const clockWatch = new ClockWatch({ host: clock, hostId: host.hostId, store, watcher, emit, periodMs: pulse.periodMs });
  const hearing = new StoreHearing({ store, watcher, emit, monoNow: () => clock.mono() });
  const enabled = (name: Loop["name"]) => (): boolean => live.read().loops[name].enabled;
  const { recoverySpreadMs } = config.recovery;

  const { deadAfterMs } = config.worker;
  const leaseSweep = new LeaseSweep({ store, probe, settings: () => ({ ...live.read().leases, deadAfterMs }), ender, alert });
  const reaped = new Reaped();
  const jobReaper = new JobReaper({
    store,
    observer: new RunObserver({ probe, host, paths, presence, registry }),
    probe,
    hostId: host.hostId,
    watcher,
    registry,
    finaliser,
    ender,
    leaseSweep,
    reaped,
    alert,
    random,
    settings: () => {
      const { reaper, loops } = live.read();
      const thresholds = { ...defaultRunThresholds, ...reaper, deadAfterMs };
      return {
        enabled: reaper.enabled && loops["job-reaper"].enabled,
        thresholds,
        adoption: config.recovery.adoption,
        recoverySpreadMs,
      };
    },
    adopt: deps.adopt,
  });
  const stopper = new Stopper({
    store,
    probe,
    table,
    host,
    paths,
    presence,
    clock,
    alert,
    settings: () => ({
      enabled: enabled("stopper")(),
      ...config.stop,
      fenceKillAfterMs: config.worker.fenceKillAfterMs,
      deadAfterMs,
    }),
    shielded,
  });
  const workerReaper = new WorkerReaper({
    store,
    probe,
    host,
    watcher,
    presence,
    ender,
    reaped,
    random,
    settings: () => ({
      enabled: enabled("worker-reaper")(),
      recoversJobs: live.read().reaper.enabled,
      deadAfterMs,
      recoverySpreadMs,
    }),
    wakeJobReaper: () => loops.wake("job-reaper"),
  });
  const sources = new SourceKeeper({ registry, workDir: paths.workDir, baseDir: config.baseDir });
  const outbox = createOutboxLoop({
    outbox: store.outbox,
    deliverers: [
      createStateFileDeliverer({ store, registry, workDir: paths.workDir, sources }),
      createAlertDeliverer({ emit, file: alertsFile(config.dataDir), now: () => store.now() }),
    ],
    alert,
    random,
    enabled: enabled("outbox"),
  });
  const intake = createIntakeLoop({
    store,
    alert,
    registry,
    paths,
    baseDir: config.baseDir,
    hostId: host.hostId,
    newId: deps.newId,
    wall: () => clock.wall(),
    enabled: enabled("intake"),
  });
  const runnerDeps = {
    now: () => store.now(),
    monoNow: () => clock.mono(),
    random,
    emit,
    alert,
    pulse,
    beforeTick: () => clockWatch.look(),
  };
  const { reaper, leases } = live.read();
  const reaperSettings = {
    jobScan: reaper.enabled,
    deadTicks: reaper.deadTicks,
    maxRunningMs: reaper.maxRunningMs,
    finalizeGraceMs: reaper.finalizeGraceMs,
    leaseReclaim: leases.reclaimEnabled,
  };
  const loops = new LoopSet([
    new LoopRunner(jobReaper, { intervalMs: reaper.intervalMs, settings: reaperSettings }, runnerDeps),
    new LoopRunner(stopper, { intervalMs: 1000 }, runnerDeps),
    new LoopRunner(workerReaper, { intervalMs: 1000 }, runnerDeps),
    new LoopRunner(
      createReconcilerLoop({ store, registry, finaliser, alert, enabled: enabled("reconciler") }),
      { intervalMs: 10_000 },
      runnerDeps,
    ),
    new LoopRunner(intake, { intervalMs: config.intake.pollMs }, runnerDeps),
    new LoopRunner(outbox, { intervalMs: 1000 }, runnerDeps),
    new LoopRunner(
      createSchedulerLoop({ jobs: store.jobs, now: () => store.now(), enabled: enabled("scheduler") }),
      { intervalMs: schedulerIntervalMs },
      runnerDeps,
    ),
    new LoopRunner(
      createRetentionLoop({
        store,
        alert,
        paths,
        sources,
        policy: () => config.retention,
        wall: () => clock.wall(),
        enabled: enabled("retention"),
      }),
      { intervalMs: 3_600_000 },
      runnerDeps,
    ),
  ]);

  // What the last daemon left is adopted, and its strays stopped, before any loop ticks.
  await workerReaper.lookAtSessions();
  let started = false;
  let stopWatch: (() => void) | undefined;
  let stopHints: (() => void) | undefined;
  let keptVantage = "";
  let keptAtMono = clock.mono();
  const keepVantage = async (): Promise<void> => {
    const text = JSON.stringify(watcher.vantage);
    if (text === keptVantage) return;
    await store.upkeep.putSetting(vantageSetting, text);
    keptVantage = text;
  };
  const watch = createLoopsWatch({
    checkLate: () => loops.checkLate(),
    looks: [
      async () => {
        await clockWatch.look();
        await hearing.look();
      },
      async () => {
        if (!workerReaper.enabled()) await workerReaper.lookAtSessions();
      },
      async () => await disk.look(),
      async () => {
        if (clock.mono() - keptAtMono < vantageKeepMs) return;
        keptAtMono = clock.mono();
        await keepVantage();
      },
    ],
    emit,
  });
  return {
    loops,
    presence,
    renewals,
    loopLagMs: () => lag.take(),
    disk,
    watcher,
    sessions: () => workerReaper.sessions(),
    lookAtSessions: async () => await workerReaper.lookAtSessions(),
    start: () => {
      watch();
      stopWatch = pulse.each(() => {
        lag.beat();
        watch();
      });
      loops.start(store);
      stopHints = intake.watchHints(() => loops.wake("intake"));
      started = true;
    },
    runOnce: async (name, options) => {
      if (!started)
        throw new WakefulError(
          "unavailable",
          "The daemon is starting: loops tick when what the last one left has been looked at. Ask again soon.",
        );
      return await loops.runOnce(name, options);
    },
    stopBlocked: async (timeoutMs) => {
      await loops.runOnce("stopper", { dryRun: false });
      let limit: NodeJS.Timeout | undefined;
      await Promise.race([
        stopper.idle(),
        new Promise((resolve) => {
          limit = setTimeout(resolve, timeoutMs);
        }),
      ]);
      clearTimeout(limit);
    },
    hurry: () => stopper.hurry(),
    stop: async () => {
      stopWatch?.();
      stopHints?.();
      await loops.stop(loopStopMs);
      await keepVantage();
    },
  };
}

/** A vantage that cannot be read is no reason not to start: the watcher then only remembers less of its own deafness. */
function parseVantage(text: string | undefined, emit: Emit): Vantage | undefined {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Vantage;
  } catch (thrown) {
    emit("defect.found", { where: "vantage", message: messageOf(thrown) });
    return undefined;
  }
}
