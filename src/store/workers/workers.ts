import { sql } from "kysely";
import type { WorkerId } from "../../domain/ids.ts";
import { sourcesOf } from "../../domain/lifecycles/lifecycle.ts";
import { type WorkerState, workerLifecycle } from "../../domain/lifecycles/worker.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import { repeated } from "../engine/repeated.ts";
import type { WorkersStore } from "../port/workers.ts";
import { appendActions } from "../records/action-log.ts";
import { workerRow } from "./worker-row.ts";

type NewWorker = Parameters<WorkersStore["register"]>[0];
type DeathVerdict = Parameters<WorkersStore["declareDead"]>[1];

/** A live session. Written out like the partial index `workers_alive`: with bound values every session in history would be read. */
const alive = sql<boolean>`state in ('live', 'draining')`;

export function createWorkers(engine: Engine): Omit<WorkersStore, "renew" | "listPresence"> {
  const { kysely } = engine;

  const endedHolding = endedHoldingOf(engine);
  const conflicts = conflictsOf(engine);

  /** One guarded flip of a session's state; answers whether this call won. */
  const flip = async (id: WorkerId, to: WorkerState, verb: string): Promise<boolean> => {
    const now = engine.now();
    const result = await kysely
      .updateTable("workers")
      .set({ state: to, ended_at: to === "draining" ? undefined : now })
      .where("id", "=", id)
      .where("state", "in", sourcesOf(workerLifecycle, verb, to))
      .executeTakeFirst();
    const won = result.numUpdatedRows > 0n;
    if (won) engine.hint("workers");
    return won;
  };

  return {
    register: async (worker) => await register(engine, worker),
    drain: async (id) => await flip(id, "draining", "drain"),
    leave: async (id) => await flip(id, "stopped", "leave"),
    declareDead: async (id, verdict) => await declareDead(engine, id, verdict),
    get: async (id) => {
      const row = await kysely.selectFrom("workers").selectAll().where("id", "=", id).executeTakeFirst();
      return row === undefined ? undefined : workerRow(row);
    },
    listAlive: async () => {
      const rows = await kysely.selectFrom("workers").selectAll().where(alive).orderBy("id").execute();
      return rows.map(workerRow);
    },
    list: async (options) => {
      let query = kysely.selectFrom("workers").selectAll().orderBy("id", "desc").limit(options.limit);
      if (options.states !== undefined) query = query.where("state", "in", options.states);
      return (await query.execute()).map(workerRow);
    },
    listEndedHolding: async (options) =>
      (await endedHolding(options)).map(({ id, ended_at }) => ({ id, endedAt: ended_at ?? options.endedSince })),
    listHostConflicts: async (heardSince) => (await conflicts({ heardSince })).map((row) => row.host_id),
  };
}

/** Sessions that ended with runs which have not. */
const endedHoldingOf = (engine: Engine) =>
  repeated(engine, ({ limit, endedSince }: { readonly limit: number; readonly endedSince: Instant }) =>
    engine.kysely
      .selectFrom("workers")
      .select(["id", "ended_at"])
      .where("ended_at", ">=", endedSince)
      .where((eb) => eb.exists(eb.selectFrom("live").select("live.id").whereRef("live.worker_id", "=", "workers.id")))
      .orderBy("ended_at")
      .orderBy("id")
      .limit(limit)
      .compile(),
  );

/** Hosts whose live sessions name two boots. */
const conflictsOf = (engine: Engine) =>
  repeated(engine, ({ heardSince }: { readonly heardSince: Instant }) =>
    engine.kysely
      .selectFrom("workers")
      .select("host_id")
      .where(alive)
      .where("last_heard_at", ">=", heardSince)
      .groupBy("host_id")
      .having(sql<boolean>`min(boot_id) <> max(boot_id)`)
      .orderBy("host_id")
      .compile(),
  );

async function register(engine: Engine, worker: NewWorker): Promise<WorkerId> {
  const now = engine.now();
  const { process } = worker;
  const row = await engine.kysely
    .insertInto("workers")
    .values({
      name: worker.name,
      kind: worker.kind,
      state: "live",
      host_id: process.hostId,
      boot_id: process.bootId,
      pid_namespace: process.pidNamespace,
      pid: process.pid,
      start_time: process.startTime,
      concurrency: worker.concurrency,
      queues: JSON.stringify(worker.queues),
      registered_at: now,
      last_heard_at: now,
      via: worker.via ?? null,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  engine.hint("workers");
  return row.id;
}

async function declareDead(engine: Engine, id: WorkerId, verdict: DeathVerdict): Promise<boolean> {
  const won = await engine.transaction(async (tx) => {
    const now = engine.now();
    const result = await tx
      .updateTable("workers")
      .set({ state: "dead", ended_at: now })
      .where("id", "=", id)
      .where("state", "in", sourcesOf(workerLifecycle, "declareDead", "dead"))
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) return false;
    await appendActions(tx, now, [{ action: "worker.buried", ...verdict, workerId: id }]);
    return true;
  });
  if (won) engine.hint("workers");
  return won;
}
