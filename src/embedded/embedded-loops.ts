import { type LoopName, loopNames } from "../config/loop-names.ts";
import type { LoopSettings, LoopSwitch } from "../config/loop-settings.ts";
import type { StopGraces } from "../domain/stop-within.ts";
import { type DurationMs, minutes, seconds } from "../domain/time.ts";
import { defaultReaderLimits } from "../liveness/old-readers.ts";
import { defaultRunThresholds } from "../liveness/run-thresholds.ts";
import { newVantage } from "../liveness/vantage.ts";
import { jobReaperSpec } from "../loops/runs/job-reaper.ts";
import { ReapedRuns } from "../loops/runs/reaped-runs.ts";
import { stopperSpec } from "../loops/runs/stopper.ts";
import { schedulerSpec } from "../loops/scheduler.ts";
import { KnownSessions } from "../loops/sessions/known-sessions.ts";
import { type HeardRenewal, RenewalListener } from "../loops/sessions/renewal-listener.ts";
import { workerReaperSpec } from "../loops/sessions/worker-reaper.ts";
import type { TickReport } from "../loops/skeleton/loop.ts";
import { buildLoops } from "../loops/skeleton/loop-set.ts";
import { LoopWaker } from "../loops/skeleton/loop-waker.ts";
import { LoopsWatch } from "../loops/skeleton/loops-watch.ts";
import { Pulse } from "../loops/skeleton/pulse.ts";
import { ClockWatch } from "../loops/watch/clock-watch.ts";
import { KnownDaemons } from "../loops/watch/known-daemons.ts";
import { LoopLag } from "../loops/watch/loop-lag.ts";
import { ReaderWatch } from "../loops/watch/reader-watch.ts";
import { StoreWatch } from "../loops/watch/store-watch.ts";
import { Watcher } from "../loops/watch/watcher.ts";
import type { Tell } from "../notify/raise-alert.ts";
import { observeOldReaders } from "../observe/old-readers.ts";
import { RunObserver } from "../observe/run-evidence.ts";
import { PresenceRegistry } from "../observe/session-presence.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { Host } from "../processes/probe/host.ts";
import type { ProcessIdentity } from "../processes/probe/identity.ts";
import { systemOpenFiles } from "../processes/probe/open-files.ts";
import type { Chance } from "../runtime/entropy.ts";
import type { Finaliser } from "../settling/finaliser.ts";
import type { RunEnder } from "../settling/run-ender.ts";
import type { RunScope } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";

/** The loops of an embedded worker. Items and commands are a daemon's; where there is one, it delivers the outbox too. */
const embeddedLoops = [jobReaperSpec, stopperSpec, workerReaperSpec, schedulerSpec] as const;

export interface EmbeddedLoopsDeps {
  readonly store: Store;
  readonly registry: PipelineRegistry;
  readonly settling: { readonly ender: RunEnder; readonly finaliser: Finaliser };
  readonly host: Host;
  /** The process that embeds the worker. */
  readonly self: ProcessIdentity;
  readonly chance: Chance;
  readonly tell: Tell;
  readonly limits: StopGraces & { readonly renewMs: DurationMs; readonly deadAfterMs: DurationMs };
}

/** The loops that repair plain jobs of handlers, for a process that embeds a worker. */
export interface EmbeddedLoops {
  /** Gives back what sessions held whose processes are proved dead, as before a first claim. */
  recover(): Promise<void>;
  /** One tick now; undefined: there is no such loop here. */
  runOnce(name: LoopName, options: { readonly dryRun: boolean }): Promise<TickReport | undefined>;
  /** A session of this process was renewed. */
  heard(renewal: HeardRenewal): void;
  /** How late the event loop was since this was last asked. */
  loopLagMs(): DurationMs | undefined;
  start(): void;
  stop(): Promise<void>;
}

const periodMs: DurationMs = seconds(1);

export function openEmbeddedLoops({ self, limits, ...parts }: EmbeddedLoopsDeps): EmbeddedLoops {
  const { store, registry, host, chance, tell } = parts;
  const monoNow = (): number => host.clock.mono();
  const watcher = new Watcher(newVantage(), tell);
  const presence = new PresenceRegistry();
  const waker = new LoopWaker();
  const pulse = new Pulse({ periodMs, random: chance.random });
  const lag = new LoopLag({ monoNow, periodMs });
  const renewals = new RenewalListener({ store, presence, emit: tell.emit, wakeJobReaper: () => waker.wake("job-reaper") });
  const clock = new ClockWatch({ host: host.clock, hostId: host.identity.hostId, store, watcher, emit: tell.emit, periodMs });
  const hearing = new StoreWatch({ store, watcher, tell, monoNow });
  // What cannot be stored now is stored with the next look.
  const stopDoubting = store.onClockDoubt((doubt) => void clock.doubt(doubt).catch(() => undefined));
  const daemons = new KnownDaemons({
    store,
    hostId: host.identity.hostId,
    monoNow,
    limits: () => ({ renewMs: limits.renewMs, deadAfterMs: limits.deadAfterMs }),
  });
  const readers = new ReaderWatch({
    limits: defaultReaderLimits,
    observe: async () => await observeOldReaders({ upkeep: store.upkeep, files: systemOpenFiles(), ownPid: process.pid }),
    server: store.capabilities.manyWriters,
    isOurs: () => daemons.isFirst(),
    tell,
    monoNow,
  });
  const settings = settingsOf(limits);
  const shared = {
    watcher,
    presence,
    waker,
    observer: new RunObserver({ probe: host.probe, host: host.identity, paths: host.paths, presence, daemons, registry }),
    sessions: new KnownSessions({ store, host, deadAfterMs: () => limits.deadAfterMs }),
    reaped: new ReapedRuns(),
    // A stage's run is judged by those who know its pipeline, a command by those on its host who can stop it, and a reserved run by whoever
    // hears its session, who alone knows whether it still holds it.
    whose: (): RunScope => ({ only: "plain", heard: presence.sessions() }),
  };
  const work = { adopt: async () => false, shielded: () => [self] };
  const { set } = buildLoops(
    embeddedLoops,
    { ...parts, settings: () => settings, shared, work },
    { now: () => store.now(), monoNow, random: chance.random, ...tell, pulse, waker },
  );
  const watched = new LoopsWatch({
    set,
    pulse,
    lag,
    looks: [
      async () => await clock.look(),
      async () => await hearing.look(),
      async () => await daemons.look(),
      async () => await readers.look(),
    ],
    emit: tell.emit,
  });
  return {
    recover: async () => {
      for (;;) {
        const report = await set.runOnce("worker-reaper", { dryRun: false });
        // A page that was given back may not have been the last.
        if (report === undefined || report.nextInMs !== 0) return;
      }
    },
    runOnce: async (name, options) => await set.runOnce(name, options),
    heard: (renewal) => renewals.heard(renewal),
    loopLagMs: () => lag.take(),
    start: () => watched.start(store),
    stop: async () => {
      stopDoubting();
      await watched.stop();
    },
  };
}

type EmbeddedSettings = LoopSwitch<LoopName> &
  Pick<LoopSettings, "reaper" | "leases" | "recovery" | "stop"> & {
    readonly worker: Pick<LoopSettings["worker"], "deadAfterMs" | "fenceKillAfterMs">;
  };

/** What the loops of a daemon read of its configuration, which an application has not. */
function settingsOf({ deadAfterMs, stopGraceMs, killGraceMs }: EmbeddedLoopsDeps["limits"]): EmbeddedSettings {
  return {
    reaper: { ...defaultRunThresholds, enabled: true, intervalMs: periodMs },
    leases: { reclaimEnabled: true, scope: [] },
    loops: Object.fromEntries(loopNames.map((name) => [name, { enabled: true }])) as LoopSettings["loops"],
    worker: { deadAfterMs, fenceKillAfterMs: minutes(10) },
    stop: { stopGraceMs, killGraceMs },
    recovery: { adoption: false, recoverySpreadMs: seconds(30), pinnedHostLostMs: minutes(10) },
  };
}
