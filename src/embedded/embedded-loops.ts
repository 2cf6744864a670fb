import type { RunId, WorkerId } from "../domain/ids.ts";
import { stopWithin } from "../domain/stop-within.ts";
import type { DurationMs } from "../domain/time.ts";
import type { DataPaths } from "../files/data-paths.ts";
import { defaultRunThresholds } from "../liveness/run-thresholds.ts";
import { newVantage } from "../liveness/vantage.ts";
import { LeaseSweep } from "../loops/leases/lease-sweep.ts";
import { JobReaper } from "../loops/runs/job-reaper.ts";
import { Reaped } from "../loops/runs/reaped-runs.ts";
import { Stopper } from "../loops/runs/stopper.ts";
import { createSchedulerLoop, schedulerIntervalMs } from "../loops/scheduler.ts";
import { RenewalListener } from "../loops/sessions/renewal-listener.ts";
import { WorkerReaper } from "../loops/sessions/worker-reaper.ts";
import { createLoopsWatch } from "../loops/skeleton/late-loops.ts";
import { LoopRunner } from "../loops/skeleton/loop-runner.ts";
import { LoopSet } from "../loops/skeleton/loop-set.ts";
import { Pulse } from "../loops/skeleton/pulse.ts";
import { ClockWatch } from "../loops/watch/clock-watch.ts";
import { LoopLag } from "../loops/watch/loop-lag.ts";
import { Watcher } from "../loops/watch/watcher.ts";
import { alertsThrough } from "../notify/raise-alert.ts";
import { RunObserver } from "../observe/run-evidence.ts";
import { PresenceBook } from "../observe/session-presence.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { HostIdentity, ProcessIdentity, ProcessProbe } from "../processes/probe/identity.ts";
import type { ProcessTable } from "../processes/probe/process-table.ts";
import type { HostClock } from "../runtime/clock.ts";
import type { Finaliser } from "../settling/finaliser.ts";
import { RunEnder } from "../settling/run-ender.ts";
import type { RunScope } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";

export interface PlainRepairsDeps {
  readonly store: Store;
  readonly registry: PipelineRegistry;
  readonly finaliser: Finaliser;
  readonly host: HostIdentity;
  readonly self: ProcessIdentity;
  readonly probe: ProcessProbe;
  readonly table: ProcessTable;
  readonly paths: DataPaths;
  readonly clock: HostClock;
  readonly random: () => number;
  readonly emit: Emit;
  readonly deadAfterMs: DurationMs;
  readonly stopGraceMs: DurationMs;
  readonly killGraceMs: DurationMs;
}

/** The loops that repair plain jobs of handlers, for a process that embeds a worker. Items and commands are a daemon's. */
export interface PlainRepairs {
  readonly loops: LoopSet;
  /** Gives back what sessions held whose processes are proved dead, as before a first claim. */
  recover(): Promise<void>;
  /** A session of this process was renewed. */
  heard(workerId: WorkerId, presence: { readonly held: readonly RunId[]; readonly claimSeqReceived: number }): void;
  /** How late the event loop was since this was last asked. */
  loopLagMs(): DurationMs | undefined;
  start(): void;
  stop(): Promise<void>;
}

const loopMs: DurationMs = 1000;
const loopStopMs: DurationMs = 5000;
const recoverySpreadMs: DurationMs = 30_000;
const fenceKillAfterMs: DurationMs = 600_000;

export function createPlainRepairs(deps: PlainRepairsDeps): PlainRepairs {
  const { store, registry, host, self, probe, table, paths, clock, random, emit, deadAfterMs, stopGraceMs, killGraceMs } = deps;
  const stopWithinMs = stopWithin({ stopGraceMs, killGraceMs });
  // No loop of an embedded worker delivers the outbox: a daemon on the same store does, now or later.
  const alert = alertsThrough({ outbox: store.outbox, emit, tellsHere: true });
  const watcher = new Watcher(newVantage(), { emit, alert });
  const presence = new PresenceBook();
  // A stage's run is judged by those who know its pipeline, a command by those on its host who can stop it, and a reserved run by whoever
  // hears its session, who alone knows whether it still holds it.
  const whose = (): RunScope => ({ only: "plain", heard: presence.sessions() });
  const renewals = new RenewalListener({ store, presence, emit, wakeJobReaper: () => loops.wake("job-reaper") });
  const clockWatch = new ClockWatch({ host: clock, hostId: host.hostId, store, watcher, emit, periodMs: loopMs });

  const ender = new RunEnder({ store, registry, random, emit, stopWithinMs: () => stopWithinMs });
  const reaped = new Reaped();
  const jobReaper = new JobReaper({
    store,
    observer: new RunObserver({ probe, host, paths, presence, registry }),
    probe,
    hostId: host.hostId,
    watcher,
    registry,
    finaliser: deps.finaliser,
    ender,
    leaseSweep: new LeaseSweep({
      store,
      probe,
      settings: () => ({ reclaimEnabled: true, scope: [], deadAfterMs, whose: whose() }),
      ender,
      alert,
    }),
    reaped,
    alert,
    random,
    settings: () => ({
      enabled: true,
      thresholds: { ...defaultRunThresholds, deadAfterMs },
      adoption: false,
      recoverySpreadMs,
      whose: whose(),
    }),
    adopt: async () => false,
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
    settings: () => ({ enabled: true, recoversJobs: true, deadAfterMs, recoverySpreadMs, whose: whose() }),
    wakeJobReaper: () => loops.wake("job-reaper"),
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
    settings: () => ({ enabled: true, stopGraceMs, killGraceMs, fenceKillAfterMs, deadAfterMs, whose: whose() }),
    shielded: () => [self],
  });
  const pulse = new Pulse({ periodMs: loopMs, random });
  const lag = new LoopLag({ monoNow: () => clock.mono(), periodMs: pulse.periodMs });
  const runnerDeps = { now: () => store.now(), monoNow: () => clock.mono(), random, emit, alert, pulse };
  const scheduler = createSchedulerLoop({ jobs: store.jobs, now: () => store.now(), enabled: () => true });
  const loops = new LoopSet([
    new LoopRunner(jobReaper, { intervalMs: loopMs }, runnerDeps),
    new LoopRunner(stopper, { intervalMs: loopMs }, runnerDeps),
    new LoopRunner(workerReaper, { intervalMs: loopMs }, runnerDeps),
    new LoopRunner(scheduler, { intervalMs: schedulerIntervalMs }, runnerDeps),
  ]);

  let stopWatch: (() => void) | undefined;
  const watch = createLoopsWatch({ checkLate: () => loops.checkLate(), looks: [async () => await clockWatch.look()], emit });
  return {
    loops,
    recover: async () => {
      for (;;) {
        const report = await loops.runOnce("worker-reaper", { dryRun: false });
        // A page that was given back may not have been the last.
        if (report === undefined || report.nextInMs !== 0) return;
      }
    },
    heard: (workerId, { held, claimSeqReceived }) => {
      renewals.heard({ workerId, held, claimSeqReceived });
    },
    loopLagMs: () => lag.take(),
    start: () => {
      stopWatch = pulse.each(() => {
        lag.beat();
        watch();
      });
      loops.start(store);
    },
    stop: async () => {
      stopWatch?.();
      await loops.stop(loopStopMs);
    },
  };
}
