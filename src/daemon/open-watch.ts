import type { Config } from "../config/config.ts";
import type { LoopSettings } from "../config/loop-settings.ts";
import { messageOf } from "../domain/errors.ts";
import type { DurationMs, Instant } from "../domain/time.ts";
import { type Vantage, wakeVantage } from "../liveness/vantage.ts";
import { ReapedRuns } from "../loops/runs/reaped-runs.ts";
import { KnownSessions } from "../loops/sessions/known-sessions.ts";
import { RenewalListener } from "../loops/sessions/renewal-listener.ts";
import { LoopWaker } from "../loops/skeleton/loop-waker.ts";
import { Pulse } from "../loops/skeleton/pulse.ts";
import { ClockWatch } from "../loops/watch/clock-watch.ts";
import { DataDirWatch, type DataDirWatchOptions } from "../loops/watch/data-dir-watch.ts";
import { DiskWatch } from "../loops/watch/disk-watch.ts";
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
import { systemOpenFiles } from "../processes/probe/open-files.ts";
import type { Chance } from "../runtime/entropy.ts";
import type { Store } from "../store/port/store.ts";
import type { EventBus } from "../telemetry/event-bus.ts";
import type { Emit } from "../telemetry/events.ts";

export interface WatchDeps {
  /** The data directory as it was locked, and who is told that it is lost. */
  readonly ownership: Pick<DataDirWatchOptions, "held" | "refuse">;
  readonly config: Pick<Config, "dataDir" | "disk" | "readers">;
  readonly settings: () => LoopSettings;
  readonly store: Store;
  readonly registry: PipelineRegistry;
  readonly host: Host;
  readonly events: EventBus;
  readonly tell: Tell;
  readonly chance: Chance;
  /** When the previous daemon of this host is known to have lived. Undefined: there was none. */
  readonly lastAliveAt: Instant | undefined;
}

/** What a daemon sees and hears, for its workers and its loops: there before any of them, and open until the last loop has stopped. */
export interface Watch {
  /** Beats once a second. */
  readonly pulse: Pulse;
  /** What the loops of this daemon share in memory. */
  readonly shared: {
    readonly watcher: Watcher;
    readonly presence: PresenceRegistry;
    readonly sessions: KnownSessions;
    readonly daemons: KnownDaemons;
    readonly observer: RunObserver;
    readonly reaped: ReapedRuns;
    readonly waker: LoopWaker;
    /** Everybody's. */
    readonly whose: () => undefined;
  };
  /** Hears what the sessions of this daemon say of themselves. */
  readonly renewals: RenewalListener;
  readonly disk: DiskWatch;
  readonly lag: LoopLag;
  readonly clock: ClockWatch;
  /** What is looked at each second, each apart from the others. */
  readonly looks: readonly (() => Promise<void>)[];
  /** Why the store cannot be worked with; undefined: it can. */
  readonly storeTrouble: () => string | undefined;
  /** Writes down how well it heard, for the next daemon, and that this one is gone. */
  close(): Promise<void>;
}

const periodMs: DurationMs = 1000;

/** Opens what a daemon watches with, and looks at the sessions that are there: what the last daemon left is theirs or nobody's. */
export async function openWatch(deps: WatchDeps): Promise<Watch> {
  const { config, settings, store, registry, host, events, tell, chance } = deps;
  const { emit } = tell;
  const monoNow = (): number => host.clock.mono();
  const kept = await openVantage(deps);
  const watcher = new Watcher(kept.vantage, tell);
  const presence = new PresenceRegistry();
  const waker = new LoopWaker();
  const sessions = new KnownSessions({ store, host, deadAfterMs: () => settings().worker.deadAfterMs });
  const { hostId } = host.identity;
  const daemons = new KnownDaemons({ store, hostId, monoNow, limits: () => settings().worker });
  const disk = new DiskWatch({ dataDir: config.dataDir, ...config.disk, emit });
  events.subscribe((event) => {
    // What has ended must still be written down: the ballast makes room for that, and nothing new is claimed.
    if (event.name === "store.degraded" && event.data.code === "disk_full") void disk.freeBallast();
  });
  const dataDir = new DataDirWatch({ dataDir: config.dataDir, ...deps.ownership });
  const clock = new ClockWatch({ host: host.clock, hostId: host.identity.hostId, store, watcher, emit, periodMs });
  // What cannot be stored now is stored with the next look.
  const stopDoubting = store.onClockDoubt((doubt) => void clock.doubt(doubt).catch(() => undefined));
  const hearing = new StoreWatch({ store, watcher, tell, monoNow });
  const readers = new ReaderWatch({
    limits: config.readers,
    observe: async () => await observeOldReaders({ upkeep: store.upkeep, files: systemOpenFiles(), ownPid: process.pid }),
    server: store.capabilities.manyWriters,
    isOurs: () => daemons.isFirst(),
    tell,
    monoNow,
  });
  // What the last daemon left is adopted, and its strays stopped, before any loop ticks.
  await sessions.look();
  await daemons.look();
  return {
    pulse: new Pulse({ periodMs, random: chance.random }),
    shared: {
      watcher,
      presence,
      sessions,
      daemons,
      observer: new RunObserver({ probe: host.probe, host: host.identity, paths: host.paths, presence, daemons, registry }),
      reaped: new ReapedRuns(),
      waker,
      whose: () => undefined,
    },
    renewals: new RenewalListener({ store, presence, emit, wakeJobReaper: () => waker.wake("job-reaper") }),
    disk,
    lag: new LoopLag({ monoNow, periodMs }),
    clock,
    looks: [
      async () => {
        await clock.look();
        await hearing.look();
      },
      async () => {
        if (!settings().loops["worker-reaper"].enabled) await sessions.look();
      },
      async () => await daemons.beat(),
      async () => dataDir.look(),
      async () => await disk.look(),
      async () => await readers.look(),
      async () => await kept.keepOften(watcher),
    ],
    storeTrouble: () => hearing.trouble,
    close: async () => {
      stopDoubting();
      await kept.keep(watcher);
      await store.outbox.release(hostId);
      await store.daemons.end(hostId);
    },
  };
}

/** Each host's own: what one daemon heard says nothing of what another did. */
const vantageSetting = (host: Host): string => `vantage:${host.identity.hostId}`;
/** How often the vantage is written down for the next daemon, when it has changed. */
const vantageKeepMs: DurationMs = 10_000;

interface KeptVantage {
  /** That of the last daemon, deaf since it was last seen alive. */
  readonly vantage: Vantage;
  keep(watcher: Watcher): Promise<void>;
  keepOften(watcher: Watcher): Promise<void>;
}

async function openVantage({ settings, store, host, tell, lastAliveAt }: WatchDeps): Promise<KeptVantage> {
  const now = store.now();
  const previous = parseVantage(await store.upkeep.setting(vantageSetting(host)), tell.emit);
  let keptText = "";
  let keptAtMono = host.clock.mono();
  const keep = async ({ vantage }: Watcher): Promise<void> => {
    const text = JSON.stringify(vantage);
    if (text === keptText) return;
    await store.upkeep.putSetting(vantageSetting(host), text);
    keptText = text;
  };
  return {
    vantage: wakeVantage({ previous, lastAliveAt, now, settings: { reannounceMs: 2 * settings().worker.renewMs } }),
    keep,
    keepOften: async (watcher) => {
      const mono = host.clock.mono();
      if (mono - keptAtMono < vantageKeepMs) return;
      keptAtMono = mono;
      await keep(watcher);
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
