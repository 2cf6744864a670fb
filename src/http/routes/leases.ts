import type { FastifyInstance } from "fastify";
import { WakefulError } from "../../domain/errors.ts";
import { asHostId, asRunId } from "../../domain/ids.ts";
import { addMs, type DurationMs, seconds } from "../../domain/time.ts";
import { api } from "../../protocol/api/index.ts";
import { defaultPageLimit } from "../../protocol/wire.ts";
import { doneAnswer, mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";

/** How long a free lease may take to be granted to a caller who does not wait: time for a busy store, not a place in line. */
const grantWithinMs: DurationMs = seconds(10);

export function leaseRoutes(app: FastifyInstance, { store, events }: DaemonServices): void {
  mount(app, api.listLeases, async ({ query }) => ({ leases: await store.leases.list({ limit: query.limit ?? defaultPageLimit }) }));

  mount(app, api.acquireLease, async ({ params, body }) => {
    const { ticket, holder, ttlMs, maxHoldMs, waitMs = 0 } = body;
    if (maxHoldMs < ttlMs) throw new WakefulError("bad_request", "maxHoldMs must not be less than ttlMs.");
    const answer = await store.leases.acquire({
      name: params.name,
      ticket,
      holder:
        holder.kind === "run"
          ? { kind: "run", runId: asRunId(holder.runId) }
          : { kind: "process", process: { ...holder.process, hostId: asHostId(holder.process.hostId) } },
      ttlMs,
      maxHoldMs,
      timeoutAt: addMs(store.now(), waitMs > 0 ? waitMs : grantWithinMs),
    });
    if (answer.kind === "held") events.emit("lease.granted", { lease: params.name, fencing: answer.fencing });
    if (waitMs > 0 || answer.kind !== "waiting") return answer;
    // A caller who does not wait must not be granted it later, when nobody would know.
    await store.leases.abandon(ticket);
    return { kind: "timed_out" as const };
  });

  const lost = (name: string, fencing: number): WakefulError =>
    new WakefulError("conflict", `Lease "${name}" is not held under fencing number ${fencing} any more.`, {
      details: { lease: name, fencing },
    });

  mount(app, api.renewLease, async ({ params: { name }, body: { fencing } }) => {
    if (!(await store.leases.renew({ name, fencing }))) throw lost(name, fencing);
    return doneAnswer;
  });

  mount(app, api.releaseLease, async ({ params: { name }, body: { fencing, reason = "released" } }, { actor }) => {
    if (!(await store.leases.release({ name, fencing, actor, reason }))) throw lost(name, fencing);
    events.emit("lease.released", { lease: name, fencing });
    return doneAnswer;
  });

  mount(app, api.abandonLease, async ({ body }) => {
    await store.leases.abandon(body.ticket);
    return doneAnswer;
  });
}
