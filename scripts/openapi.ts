import { LiveSettings } from "../src/config/live-settings.ts";
import { configSchema } from "../src/config/schema.ts";
import { asInstant } from "../src/domain/time.ts";
import { version } from "../src/domain/version.ts";
import { buildApp } from "../src/http/app.ts";
import { createSettingsEditor } from "../src/operations/change-settings.ts";
import { Operations } from "../src/operations/operations.ts";
import { PausedWorkers } from "../src/operations/paused-workers.ts";
import { PipelineRegistry } from "../src/pipelines/registry.ts";
import { openStore } from "../src/store/open-store.ts";
import { EventBus } from "../src/telemetry/event-bus.ts";

/** The text of docs/openapi.json: what the API says of itself, asked of an app over an empty store in memory that listens nowhere. */
export async function openApiText(): Promise<string> {
  const startedAt = asInstant(0);
  const store = await openStore({ url: ":memory:", clock: { now: () => startedAt } });
  const registry = new PipelineRegistry([]);
  const events = new EventBus(
    () => startedAt,
    (thrown) => {
      throw thrown;
    },
  );
  const operations = new Operations({
    store,
    registry,
    emit: events.emit,
    newKey: () => "",
    tasks: () => new Set(),
    pausedWorkers: await PausedWorkers.open(store.upkeep),
    stopWithinMs: () => 0,
  });
  const app = await buildApp({
    services: {
      store,
      events,
      registry,
      operations,
      loops: { snapshots: () => [], runOnce: async () => undefined },
      settings: createSettingsEditor({ live: new LiveSettings(configSchema.parse({})), actions: store.actions, emit: events.emit }),
      readiness: () => ({ ready: true, reasons: [], heldBack: [], troubles: [] }),
      metrics: { contentType: "text/plain", text: async () => "", observeRequest: () => undefined },
      daemon: { version, pid: 0, startedAt, startSeq: 0, dataDir: "", store: "" },
    },
    access: "in-process",
    correlationPrefix: "docs",
  });
  try {
    return `${JSON.stringify(app.swagger(), null, 2)}\n`;
  } finally {
    await app.close();
    await store.close();
  }
}
