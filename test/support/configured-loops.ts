import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LiveSettings } from "../../src/config/live-settings.ts";
import type { LoopName } from "../../src/config/loop-names.ts";
import type { LoopSettings } from "../../src/config/loop-settings.ts";
import { daemonLoops } from "../../src/daemon/daemon-loops.ts";
import { openWatch, type Watch } from "../../src/daemon/open-watch.ts";
import { stopWithin } from "../../src/domain/stop-within.ts";
import type { DurationMs } from "../../src/domain/time.ts";
import { directAccess } from "../../src/files/foreign/path-operation.ts";
import { SourceKeeper } from "../../src/item-files/kept-source.ts";
import type { TickReport } from "../../src/loops/skeleton/loop.ts";
import { buildLoops } from "../../src/loops/skeleton/loop-set.ts";
import type { LoopsBy } from "../../src/loops/skeleton/loop-spec.ts";
import { alertsThrough } from "../../src/notify/raise-alert.ts";
import { type Configuration, loadConfiguration } from "../../src/pipelines/reading/load.ts";
import { EventBus } from "../../src/telemetry/event-bus.ts";
import { enderOf } from "./ender.ts";
import { present } from "./present.ts";
import { emptyTable, RepairWorld } from "./repair-world.ts";
import { tempDir } from "./temp-dir.ts";

/** The loops of a daemon with the settings of a configuration file. They tick when a test says so, at the instant that it has set. */
export interface ConfiguredLoops {
  readonly world: RepairWorld;
  readonly watch: Watch;
  readonly configuration: Configuration;
  readonly loops: LoopsBy<typeof daemonLoops>;
  /** One tick of a loop, to the end of all that it began. */
  tick(name: LoopName): Promise<TickReport>;
  /** Ticks of a loop at each step of the way, as a daemon has them, so that its own silence excuses nobody. */
  pass(name: LoopName, ms: DurationMs, stepMs?: DurationMs): Promise<void>;
}

/** @param yaml - The configuration file. It is read as a daemon reads it, and says nothing of where things are. */
export async function configuredLoops(yaml: string): Promise<ConfiguredLoops> {
  const folder = tempDir("configured");
  await writeFile(join(folder, "wakeful.yaml"), yaml);
  const configuration = await loadConfiguration({ cwd: folder, env: {} });
  const { config, pipelines } = configuration;
  const world = await RepairWorld.open(pipelines);
  const { store, registry, paths, clock, baseDir, events } = world.world;
  const live = new LiveSettings(config);
  const settings = (): LoopSettings => ({ ...config, baseDir, ...live.read() });
  const bus = new EventBus(
    () => clock.now(),
    (thrown) => {
      throw thrown;
    },
  );
  bus.subscribe(({ name, data }) => void events.push({ name, data }));
  const tell = { emit: bus.emit, alert: alertsThrough({ outbox: store.outbox, emit: bus.emit }) };
  const chance = { random: () => 0.5, newId: newIds() };
  const time = { wall: () => clock.now(), mono: () => clock.now(), boot: () => clock.now() };
  const host = { identity: world.host, probe: world.probe, table: emptyTable, paths, clock: time };
  const watch = await openWatch({
    config: { ...config, dataDir: paths.dataDir },
    settings,
    store,
    ownership: { held: { lost: () => undefined }, refuse: () => undefined },
    registry,
    host,
    events: bus,
    tell,
    chance,
    lastAliveAt: clock.now(),
  });
  const ender = enderOf({ store, registry, emit: bus.emit, stopWithinMs: () => stopWithin(config.stop) });
  const work = { shielded: () => [], supervised: () => [], adopt: async () => false };
  const { finaliser } = world.loops;
  const sources = new SourceKeeper({ registry, access: directAccess, workDir: paths.workDir, baseDir });
  const { set, loops } = buildLoops(
    daemonLoops,
    {
      settings,
      store,
      registry,
      access: directAccess,
      host,
      tell,
      chance,
      shared: watch.shared,
      settling: { ender, finaliser },
      work,
      sources,
      deliverers: [],
    },
    {
      now: () => clock.now(),
      monoNow: () => clock.now(),
      random: chance.random,
      ...tell,
      waker: watch.shared.waker,
      beforeTick: async () => {
        for (const look of watch.looks) await look();
      },
    },
  );
  const tick = async (name: LoopName): Promise<TickReport> => {
    const report = await set.runOnce(name, { dryRun: false });
    await loops["job-reaper"].idle();
    await loops.stopper.idle();
    return present(report);
  };
  return {
    world,
    watch,
    configuration,
    loops,
    tick,
    pass: async (name, ms, stepMs = 1000) => {
      for (let left = ms; left > 0; left -= stepMs) {
        world.advance(Math.min(left, stepMs));
        await tick(name);
      }
    },
  };
}

function newIds(): () => string {
  let made = 0;
  return () => `id${++made}`;
}
