import { tellClockAhead } from "../loops/watch/clock-ahead.ts";
import type { RaiseAlert } from "../notify/raise-alert.ts";
import { canonicalJson } from "../pipelines/definition.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { HostIdentity } from "../processes/probe/identity.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";
import { countStart } from "../worker/start-sequence.ts";

export interface StartRecord {
  readonly store: Store;
  readonly dataDir: string;
  readonly host: HostIdentity;
  readonly registry: PipelineRegistry;
  /** How far the store's newest instant lies ahead of the wall clock. */
  readonly aheadMs: Parameters<typeof tellClockAhead>[0]["aheadMs"];
  readonly alert: RaiseAlert;
  readonly emit: Emit;
}

/** Writes down that a daemon starts: its number, its host, and the pipelines that it has. Answers the number of the start. */
export async function declareStart({ store, dataDir, host, registry, aheadMs, alert, emit }: StartRecord): Promise<number> {
  await tellClockAhead({ alert, aheadMs });
  const { startSeq, epochRaised } = await countStart(dataDir, store.upkeep);
  if (epochRaised)
    emit("store.epoch_raised", { epoch: await store.upkeep.storeEpoch(), reason: "the store is older than its data directory: restored" });
  await store.upkeep.recordHost({ hostId: host.hostId, bootId: host.bootId });
  for (const { definition, version } of registry.all()) {
    await store.items.putPipeline({ pipeline: definition.name, hash: version, definition: canonicalJson(definition) });
  }
  await store.jobs.ensureQueues(registry.queues());
  await store.items.declarePipelines({ hostId: host.hostId, pipelines: registry.all().map(({ definition }) => definition.name) });
  return startSeq;
}
