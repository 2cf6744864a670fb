import { version } from "../domain/version.ts";
import type { Store } from "../store/port/store.ts";
import type { EventBus } from "../telemetry/event-bus.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import type { Loops } from "./open-loops.ts";

export interface DaemonMetricsOptions {
  readonly events: EventBus;
  readonly store: Pick<Store, "upkeep" | "outbox">;
  readonly loops: Pick<Loops, "snapshots">;
}

/** The metrics of a daemon: what its events count, and what its store and loops say when they are asked. */
export const createDaemonMetrics = ({ events, store: { upkeep, outbox }, loops }: DaemonMetricsOptions): Metrics =>
  createMetrics({
    events,
    version,
    sources: {
      queues: () => upkeep.counts(),
      slots: () => upkeep.slots(),
      outboxDepth: () => outbox.depth(),
      storeBytes: () => upkeep.sizeBytes(),
      loops: () => loops.snapshots(),
    },
  });
