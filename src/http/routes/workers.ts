import type { FastifyInstance } from "fastify";
import { api } from "../../protocol/api/index.ts";
import { defaultPageLimit } from "../../protocol/wire.ts";
import { mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";

export function workerRoutes(app: FastifyInstance, { store, operations }: DaemonServices): void {
  mount(app, api.listWorkers, async ({ query }) => {
    const workers = await store.workers.list({ states: query.state ?? ["live", "draining"], limit: query.limit ?? defaultPageLimit });
    return { workers: workers.map((worker) => ({ ...worker, paused: operations.isWorkerPaused(worker) })) };
  });
  mount(app, api.listSlots, async () => ({ slots: await store.upkeep.slots() }));
}
