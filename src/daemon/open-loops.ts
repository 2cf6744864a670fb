import type { LoopName } from "../config/loop-names.ts";
import type { LoopSettings } from "../config/loop-settings.ts";
import { WakefulError } from "../domain/errors.ts";
import type { DurationMs } from "../domain/time.ts";
import { SourceKeeper } from "../item-files/kept-source.ts";
import { createStateFileDeliverer } from "../item-files/state-file.ts";
import type { JobReaperParts } from "../loops/runs/job-reaper.ts";
import type { StopperParts } from "../loops/runs/stopper.ts";
import type { WorkerReaperParts } from "../loops/sessions/worker-reaper.ts";
import type { LoopSnapshot, TickReport } from "../loops/skeleton/loop.ts";
import { buildLoops } from "../loops/skeleton/loop-set.ts";
import { LoopsWatch } from "../loops/skeleton/loops-watch.ts";
import { alertsFile, createAlertDeliverer } from "../notify/alerts.ts";
import type { Deliverer } from "../notify/deliverer.ts";
import type { Tell } from "../notify/raise-alert.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { Host } from "../processes/probe/host.ts";
import type { Chance } from "../runtime/entropy.ts";
import { within } from "../runtime/time-limit.ts";
import type { Store } from "../store/port/store.ts";
import { daemonLoops } from "./daemon-loops.ts";
import type { DaemonPaths } from "./open-paths.ts";
import type { Watch } from "./open-watch.ts";

export interface LoopsDeps {
  readonly settings: () => LoopSettings;
  readonly store: Store;
  readonly registry: PipelineRegistry;
  readonly host: Host;
  readonly tell: Tell;
  readonly chance: Chance;
  readonly watch: Watch;
  readonly paths: DaemonPaths;
  readonly settling: JobReaperParts["settling"];
  readonly work: JobReaperParts["work"] & StopperParts["work"] & WorkerReaperParts["work"];
}

/** All loops of a daemon. Nothing ticks before the start. */
export interface Loops {
  snapshots(): readonly LoopSnapshot[];
  start(): void;
  /**
   * One tick now, when a person asks for it; undefined: there is no such loop.
   *
   * @throws {WakefulError} `unavailable` before {@link Loops.start}: the start-up requeue judges first (B-5).
   */
  runOnce(name: LoopName, options: { readonly dryRun: boolean }): Promise<TickReport | undefined>;
  /** Stops what is blocked now and resolves when it is proved stopped, or after `timeoutMs`. */
  stopBlocked(timeoutMs: DurationMs): Promise<void>;
  /** What is being stopped, and what will be, is killed without its grace. */
  hurry(): void;
  /** Ends with the watch: how well this daemon heard is written down once no loop judges any more. */
  stop(): Promise<void>;
}

export function openLoops({ watch, paths: { access }, ...parts }: LoopsDeps): Loops {
  const { store, registry, host, tell, chance } = parts;
  const { pulse, shared } = watch;
  const sources = new SourceKeeper({ registry, workDir: host.paths.workDir, baseDir: parts.settings().baseDir, access });
  const { set, loops } = buildLoops(
    daemonLoops,
    { ...parts, access, shared, sources, deliverers: deliverersOf(parts, sources) },
    {
      now: () => store.now(),
      monoNow: () => host.clock.mono(),
      random: chance.random,
      ...tell,
      pulse,
      waker: shared.waker,
      beforeTick: async () => await watch.clock.look(),
    },
  );
  const watched = new LoopsWatch({ set, pulse, lag: watch.lag, looks: watch.looks, emit: tell.emit });
  return {
    snapshots: () => set.snapshots(),
    start: () => watched.start(store),
    runOnce: async (name, options) => {
      if (!watched.hasStarted)
        throw new WakefulError(
          "unavailable",
          "The daemon is starting: loops tick when what the last one left has been looked at. Ask again soon.",
        );
      return await set.runOnce(name, options);
    },
    stopBlocked: async (timeoutMs) => {
      await set.runOnce("stopper", { dryRun: false });
      await within(loops.stopper.idle(), timeoutMs, { holds: true });
    },
    hurry: () => loops.stopper.hurry(),
    stop: async () => {
      await watched.stop();
      await watch.close();
    },
  };
}

/** Who delivers what leaves the store. */
function deliverersOf({ store, registry, host, tell }: Omit<LoopsDeps, "watch" | "paths">, sources: SourceKeeper): readonly Deliverer[] {
  const { workDir, dataDir } = host.paths;
  return [
    createStateFileDeliverer({ store, registry, workDir, sources }),
    createAlertDeliverer({ emit: tell.emit, file: alertsFile(dataDir), now: () => store.now() }),
  ];
}
