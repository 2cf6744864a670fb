import { hostname } from "node:os";
import { resolve } from "node:path";
import { LiveSettings } from "../config/live-settings.ts";
import type { LoopSettings } from "../config/loop-settings.ts";
import { withoutPassword } from "../config/postgres-url.ts";
import { spanText } from "../domain/durations.ts";
import { clockAheadMaxMs, type DurationMs, type Instant } from "../domain/time.ts";
import { version } from "../domain/version.ts";
import { isLivingDaemon } from "../liveness/daemon-policy.ts";
import { alertsThrough, type RaiseAlert, type Tell } from "../notify/raise-alert.ts";
import { canonicalJson } from "../pipelines/definition.ts";
import { type Configuration, configLimits } from "../pipelines/reading/load.ts";
import { liveFindings } from "../pipelines/reading/stage-relations.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import { isSameDirectory } from "../processes/probe/host-identity.ts";
import { type Chance, newClientId, random } from "../runtime/entropy.ts";
import type { Undo } from "../runtime/start-or-undo.ts";
import { createStoreClock } from "../runtime/store-clock.ts";
import { createFirstChecks, type FirstChecks } from "../store/jobs/claim-rules.ts";
import { migrationEvents } from "../store/migration-told.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/port/store.ts";
import { type RefusableStore, refusable } from "../store/refusable.ts";
import type { EventBus } from "../telemetry/event-bus.ts";
import { countStart } from "../worker/start-sequence.ts";
import { type DaemonOutput, openEventLog } from "./event-log.ts";
import type { DaemonHost } from "./open-host.ts";
import { ownDataDirectory } from "./own-data-directory.ts";

export interface DaemonStoreDeps {
  readonly configuration: Configuration;
  readonly daemonHost: DaemonHost;
  readonly output: DaemonOutput;
  /** Whether a data directory that belongs to another store is taken over. */
  readonly takeDataDir: boolean;
  readonly undo: Undo;
}

/** What a daemon keeps, goes by and tells: its store, its settings and pipelines, its events. */
export interface DaemonStore {
  readonly store: Store;
  readonly refuse: RefusableStore["refuse"];
  readonly registry: PipelineRegistry;
  readonly live: LiveSettings;
  /** As they are in force now. */
  readonly settings: () => LoopSettings;
  readonly checks: FirstChecks;
  readonly events: EventBus;
  readonly tell: Tell;
  readonly chance: Chance;
  /** The number of this start. */
  readonly startSeq: number;
  /** When the previous daemon of this host is known to have lived. Undefined: there was none. */
  readonly lastAliveAt: Instant | undefined;
}

/** Opens the store, brings its schema up to date, and writes down that a daemon starts. Throws typed errors (`store_locked`, `store_newer`, ...). */
export async function openDaemonStore({ configuration, daemonHost, output, takeDataDir, undo }: DaemonStoreDeps): Promise<DaemonStore> {
  const { config, pipelines } = configuration;
  const clock = createStoreClock({ host: daemonHost.host.clock });
  const live = new LiveSettings(config, { check: ({ reaper }) => liveFindings(pipelines, configLimits({ ...config, reaper })) });
  const checks = createFirstChecks(() => live.read().reaper);
  // Until the store is open, which may take minutes, events are dated by its clock alone.
  let dated: Pick<Store, "now"> = clock;
  const events = openEventLog({
    store: { now: () => dated.now() },
    log: config.log,
    output,
    exposedDirectory: daemonHost.exposedDirectory,
  });
  const { emit } = events;
  const migration = migrationEvents({ emit, mono: () => clock.mono() });
  const { store, refuse } = refusable(await openStore({ url: config.store, clock, checks, tellMigration: migration.tell }));
  undo.push(() => store.close());
  dated = store;
  migration.finished();
  await ownDataDirectory({ dataDir: config.dataDir, place: withoutPassword(config.store), upkeep: store.upkeep, take: takeDataDir });
  // Before this start writes anything: how long nobody was listening.
  const lastAliveAt = await lastAliveOf(daemonHost, store);
  const tell: Tell = { emit, alert: alertsThrough({ outbox: store.outbox, emit }) };
  const registry = new PipelineRegistry(pipelines);
  await tellClockAhead(tell.alert, clock.aheadOfWallMs());
  const startSeq = await declareStart({ store, daemonHost, registry, tell, worker: config.worker });
  return {
    store,
    refuse,
    registry,
    live,
    settings: () => ({ ...config, ...live.read() }),
    checks,
    events,
    tell,
    chance: { random, newId: newClientId },
    startSeq,
    lastAliveAt,
  };
}

/**
 * When this daemon was last alive. What others on a shared store have written since tells nothing of it: it heard nobody meanwhile. Where it
 * is the only one, all that is stored does.
 */
async function lastAliveOf({ host }: DaemonHost, { upkeep, capabilities }: Store): Promise<Instant | undefined> {
  if (!capabilities.manyWriters) return await upkeep.newestInstant();
  return await upkeep.daemonHeardAt(host.identity.hostId);
}

/**
 * Alerts, once per start, when the store's newest instant lies far ahead of the wall clock: the store's clock, and every age, stands still
 * until the wall catches up.
 */
async function tellClockAhead(alert: RaiseAlert, aheadMs: DurationMs): Promise<void> {
  if (aheadMs <= clockAheadMaxMs) return;
  const title =
    `The store's newest instant is ${spanText(aheadMs)} ahead of this host's clock, and ages stand still until it has caught up. ` +
    "Set the clock right, or stop the daemon and run `wakeful doctor --reset-clock`";
  await alert({ cause: "clock:ahead", title, details: { aheadMs } });
}

interface StartParts extends Pick<DaemonStore, "store" | "registry" | "tell">, Pick<DaemonStoreDeps, "daemonHost"> {
  readonly worker: { readonly deadAfterMs: DurationMs };
}

/** Writes down that a daemon starts: its number, its host, and the pipelines that it has. Answers the number of the start. */
async function declareStart({ store, daemonHost, registry, tell: { emit }, worker }: StartParts): Promise<number> {
  const { host } = daemonHost;
  const { hostId, bootId } = host.identity;
  const { startSeq, epochRaised } = await countStart(host.paths.dataDir, store.upkeep);
  if (epochRaised)
    emit("store.epoch_raised", { epoch: await store.upkeep.storeEpoch(), reason: "the store is older than its data directory: restored" });
  await store.upkeep.recordHost({ hostId, bootId });
  const others = (await store.daemons.list()).filter((row) => row.process.hostId !== hostId && isLivingDaemon(row, worker, store.now()));
  const living = new Set(others.map(({ process }) => process.hostId));
  for (const { process, place, version: theirs } of others)
    emit("daemon.beside", { hostId: process.hostId, place, version: theirs, pid: process.pid });
  await store.daemons.begin({ process: daemonHost.self, place: `${hostname()}:${resolve(host.paths.dataDir)}`, version });
  // The same data directory under another host id: its machine has changed. Where one daemon owns the store, all is in its directory.
  const former = (await store.items.hostsOfUnfinished()).filter((id) => id !== hostId && !living.has(id) && isSameDirectory(id, hostId));
  await store.items.takeAll({ to: hostId, from: store.capabilities.manyWriters ? former : "everybody" });
  // Its lock on the data directory proves that whoever claimed them here before is dead.
  await store.outbox.release(hostId);
  for (const { definition, version: hash } of registry.all()) {
    await store.items.putPipeline({ pipeline: definition.name, hash, definition: canonicalJson(definition) });
  }
  await store.jobs.ensureQueues(registry.queues());
  await store.items.declarePipelines({ hostId, pipelines: registry.all().map(({ definition }) => definition.name) });
  return startSeq;
}
