import type { FastifyInstance } from "fastify";
import { asHostId, asRunId } from "../../domain/ids.ts";
import { LeaseOperations } from "../../operations/leases.ts";
import { api } from "../../protocol/api/index.ts";
import { defaultPageLimit } from "../../protocol/wire.ts";
import { doneAnswer, mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";

export function leaseRoutes(app: FastifyInstance, { store, events }: DaemonServices): void {
  const operations = new LeaseOperations({ store, emit: events.emit });

  mount(app, api.listLeases, async ({ query }) => ({ leases: await store.leases.list({ limit: query.limit ?? defaultPageLimit }) }));

  mount(app, api.acquireLease, async ({ params: { name }, body: { holder, waitMs = 0, ...request } }) =>
    operations.acquire({
      ...request,
      name,
      waitMs,
      holder:
        holder.kind === "run"
          ? { kind: "run", runId: asRunId(holder.runId) }
          : { kind: "process", process: { ...holder.process, hostId: asHostId(holder.process.hostId) } },
    }),
  );

  mount(app, api.renewLease, async ({ params: { name }, body: { fencing } }) => {
    await operations.renew({ name, fencing });
    return doneAnswer;
  });

  mount(app, api.releaseLease, async ({ params: { name }, body: { fencing, reason = "released" } }, { actor }) => {
    await operations.release({ name, fencing, actor, reason });
    return doneAnswer;
  });

  mount(app, api.abandonLease, async ({ body }) => {
    await operations.abandon(body.ticket);
    return doneAnswer;
  });
}
