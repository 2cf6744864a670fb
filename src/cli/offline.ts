import type { Config } from "../config/config.ts";
import type { ConfigRequest } from "../config/load.ts";
import { withoutPassword } from "../config/postgres-url.ts";
import { WakefulError } from "../domain/errors.ts";
import { asInstant } from "../domain/time.ts";
import { buildApp } from "../http/app.ts";
import type { DaemonServices } from "../http/services.ts";
import { Operations } from "../operations/operations.ts";
import { PausedWorkers } from "../operations/paused-workers.ts";
import { readConfiguration } from "../pipelines/reading/load.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import { createClient } from "../protocol/client.ts";
import { openReadOnly } from "../store/open-store.ts";
import { EventBus } from "../telemetry/event-bus.ts";
import type { Connection } from "./connection.ts";
import type { CliHost } from "./host.ts";

export interface OfflineRequest {
  readonly config: Config;
  readonly configRequest: ConfigRequest;
  readonly host: CliHost;
}

/**
 * The daemon's API without a daemon: the same routes in this process over the store's file, opened to read. So what is shown cannot
 * differ from what a daemon would show.
 * @throws {WakefulError} `store_locked` when a daemon holds the file but did not answer; `store_older`, `store_newer`, `store_corrupt`.
 */
export async function openOffline({ config, configRequest, host }: OfflineRequest): Promise<Connection> {
  const now = () => asInstant(host.clock.wall());
  const store = await openReadOnly({ url: config.store, clock: { now } });
  const reading = await readConfiguration(configRequest);
  const registry = new PipelineRegistry(reading.configuration?.pipelines ?? []);
  const events = new EventBus(now, (thrown) => host.output.err(String(thrown)));
  const services: DaemonServices = {
    store,
    events,
    registry,
    operations: new Operations({
      store,
      registry,
      emit: events.emit,
      newKey: () => "",
      tasks: () => new Set(),
      pausedWorkers: await PausedWorkers.open(store.upkeep),
      stopWithinMs: () => 0,
    }),
    loops: { snapshots: () => [], runOnce: async () => undefined },
    settings: {
      read: () => ({ reaper: config.reaper, leases: config.leases, loops: config.loops }),
      change: async () => await Promise.reject(new WakefulError("daemon_unreachable", "Only a running daemon has settings to change.")),
    },
    readiness: () => ({ ready: false, reasons: ["no daemon is running"], heldBack: [], troubles: [] }),
    metrics: { contentType: "text/plain", text: async () => "", observeRequest: () => undefined },
    daemon: { version: host.version, pid: 0, startedAt: now(), startSeq: 0, dataDir: config.dataDir, store: withoutPassword(config.store) },
  };
  const app = await buildApp({ services, access: "in-process", correlationPrefix: "offline" });
  const client = createClient({
    transport: async ({ method, path, headers, body }) => {
      const answer = await app.inject({
        method: method === "POST" ? "POST" : "GET",
        url: path,
        headers: { ...headers },
        ...(body === undefined ? {} : { payload: body }),
      });
      return {
        status: answer.statusCode,
        chunks: (async function* () {
          yield answer.rawPayload;
        })(),
      };
    },
  });
  return {
    client,
    offline: true,
    async close() {
      await app.close();
      await store.close();
    },
  };
}
