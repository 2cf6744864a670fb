import type { FastifyInstance } from "fastify";
import { type LoopSnapshot, snapshotOf } from "../../loops/skeleton/loop.ts";
import { observeOldReaders } from "../../observe/old-readers.ts";
import { systemOpenFiles } from "../../processes/probe/open-files.ts";
import { api } from "../../protocol/api/index.ts";
import type { ReaperWire } from "../../protocol/api/status.ts";
import { mount, mountStream } from "../mount.ts";
import type { DaemonServices } from "../services.ts";

/** Jobs that wait for the end of their last attempt; the oldest first, so that those that wait too long are among them. */
const blockedMax = 1000;
const unstoppableMax = 100;

export function statusRoutes(app: FastifyInstance, { store, loops, readiness, metrics, daemon }: DaemonServices): void {
  mount(app, api.queueStatus, async () => {
    const queues = await store.upkeep.counts();
    const totals: Record<string, number> = {};
    for (const { states } of queues) {
      for (const [state, count] of Object.entries(states)) totals[state] = (totals[state] ?? 0) + count;
    }
    return {
      queues: queues.map((queue) => ({ ...queue, states: Object.fromEntries(Object.entries(queue.states)) })),
      totals,
      reaper: reaperView(snapshotOf(loops.snapshots(), "job-reaper")),
    };
  });

  mountStream(app, api.metrics, async (_call, _request, reply) => {
    await reply.type(metrics.contentType).send(await metrics.text());
  });

  mount(app, api.healthz, async () => ({
    status: "ok" as const,
    instance: daemon.instance,
  }));

  mountStream(app, api.readyz, async (_call, _request, reply) => {
    const { ready, reasons, heldBack, troubles } = readiness();
    await reply.code(ready ? 200 : 503).send({ ready, reasons, heldBack, troubles });
  });

  mount(app, api.checkStore, async () => {
    const [integrity, breaches, newestAt, sizeBytes, oldReaders, outboxWaiting, dead, blocked] = await Promise.all([
      store.upkeep.integrityCheck(),
      store.upkeep.checkInvariants(),
      store.upkeep.newestInstant(),
      store.upkeep.sizeBytes(),
      observeOldReaders({ upkeep: store.upkeep, files: systemOpenFiles(), ownPid: process.pid }),
      store.outbox.depth(),
      store.outbox.listDead(100),
      store.runs.listBlocked({ limit: blockedMax }),
    ]);
    const outboxDead = dead.map(({ id, kind, key, lastError }) => ({ id, kind, key, error: lastError }));
    const now = store.now();
    const remains = snapshotOf(loops.snapshots(), "stopper")?.details.remains ?? {};
    const unstoppable = blocked
      .filter(({ stopBy }) => stopBy < now)
      .slice(0, unstoppableMax)
      .map(({ jobId, stopBy, run }) => ({ jobId, attempt: run.attempt, attemptOf: run.jobId, stopBy, remains: remains[jobId] ?? null }));
    return { integrity, breaches, now, newestAt: newestAt ?? null, sizeBytes, oldReaders, outboxWaiting, outboxDead, unstoppable };
  });

  mount(app, api.getDaemon, async () => {
    const { version, pid, startedAt, dataDir, store: storeText } = daemon;
    return { version, pid, startedAt, now: store.now(), dataDir, store: storeText };
  });
}

/** The reaper's snapshot under the names its operators know; counters that a fresh process has not begun are zero (B-62). */
function reaperView(snapshot: LoopSnapshot<"job-reaper"> | undefined): ReaperWire {
  const { reaped_total = 0, last_reaped = null, lease_reclaimed_total = 0 } = snapshot?.details ?? {};
  return {
    enabled: snapshot?.enabled ?? false,
    interval: (snapshot?.intervalMs ?? 0) / 1000,
    last_run_ts: snapshot === undefined || snapshot.lastRunAt === null ? null : snapshot.lastRunAt / 1000,
    reaped_total,
    last_reaped,
    lease_reclaimed_total,
  };
}
