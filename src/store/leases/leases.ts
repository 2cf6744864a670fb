import { type Kysely, sql } from "kysely";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import { addMs, type Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import { repeated } from "../engine/repeated.ts";
import type { Database, RowOf } from "../engine/tables.ts";
import type { HeldLease, LeaseRow, LeasesStore } from "../port/leases.ts";
import { allRuns } from "../runs/all-runs.ts";
import { processOf } from "../runs/run-row.ts";
import { supervisorRow } from "../workers/worker-row.ts";
import { holderColumns, holderOf } from "./lease-holder.ts";
import { dropHopeless, ensureLease, freeLease, grantNext, lockLease } from "./lease-line.ts";

type AcquireRequest = Parameters<LeasesStore["acquire"]>[0];
type AcquireAnswer = Awaited<ReturnType<LeasesStore["acquire"]>>;

export function createLeases(engine: Engine): LeasesStore {
  const { kysely } = engine;
  const heldAfter = repeated(engine, ({ after, limit }: { readonly after: string; readonly limit: number }) =>
    kysely.selectFrom("leases").selectAll().where("state", "=", "held").where("name", ">", after).orderBy("name").limit(limit).compile(),
  );
  const waitedFor = repeated(engine, () => kysely.selectFrom("lease_waiters").select("name").distinct().orderBy("name").compile());
  return {
    acquire: async (request) => await engine.transaction(async (tx) => await acquire(engine, tx, request)),
    renew: async ({ name, fencing }) => {
      const result = await kysely
        .updateTable("leases")
        .set({ expires_at: sql<Instant>`cast(${engine.now()} as bigint) + ttl_ms`, alerted_at: null })
        .where("name", "=", name)
        .where("fencing", "=", fencing)
        .where("state", "=", "held")
        .executeTakeFirst();
      return result.numUpdatedRows > 0n;
    },
    release: async ({ name, fencing, actor, reason }) => {
      const won = await engine.transaction(async (tx) => {
        const lease = await lockLease(engine, tx, name);
        if (lease?.state !== "held" || lease.fencing !== fencing) return false;
        await freeLease(tx, lease, { now: engine.now(), actor, reason });
        return true;
      });
      if (won) engine.hint("leases");
      return won;
    },
    abandon: async (ticket) => await abandon(engine, ticket),
    // No name is empty, so all come after the empty one.
    listHeld: async ({ scope, after = "", limit }) => {
      if (scope === undefined) return await withHolders(kysely, await heldAfter({ after, limit }));
      if (scope.length === 0) return [];
      const query = kysely
        .selectFrom("leases")
        .selectAll()
        .where("state", "=", "held")
        .where("name", ">", after)
        .where("name", "in", scope);
      return await withHolders(kysely, await query.orderBy("name").limit(limit).execute());
    },
    list: async ({ limit }) => {
      const rows = await kysely.selectFrom("leases").selectAll().orderBy("name").limit(limit).execute();
      const waiters = await waitersOf(kysely, rows);
      return rows.map((row) => leaseRow(row, waiters));
    },
    markAlerted: async ({ name, fencing }) => {
      const result = await kysely
        .updateTable("leases")
        .set({ alerted_at: engine.now() })
        .where("name", "=", name)
        .where("fencing", "=", fencing)
        .where("state", "=", "held")
        .where("alerted_at", "is", null)
        .executeTakeFirst();
      return result.numUpdatedRows > 0n;
    },
    tidyWaiters: async () =>
      await tidyWaiters(
        engine,
        (await waitedFor({})).map(({ name }) => name),
      ),
  };
}

async function acquire(engine: Engine, tx: Kysely<Database>, request: AcquireRequest): Promise<AcquireAnswer> {
  const now = engine.now();
  const lease = await ensureLease(engine, tx, request);
  if (lease.state === "held" && lease.ticket === request.ticket) return { kind: "held", fencing: lease.fencing };
  if (request.timeoutAt <= now) {
    await tx.deleteFrom("lease_waiters").where("ticket", "=", request.ticket).execute();
    return { kind: "timed_out" };
  }
  // Everyone queues, also for a free lease, so that first come is first served even just as it becomes free.
  await tx
    .insertInto("lease_waiters")
    .values({
      name: request.name,
      ticket: request.ticket,
      ...holderColumns(request.holder),
      ttl_ms: request.ttlMs,
      max_hold_ms: request.maxHoldMs,
      asked_at: now,
      timeout_at: request.timeoutAt,
    })
    .onConflict((conflict) => conflict.column("ticket").doNothing())
    .execute();
  if (lease.state === "free") {
    const granted = await grantNext(tx, lease, now);
    if (granted?.ticket === request.ticket) return { kind: "held", fencing: granted.fencing };
  }
  const place = await tx
    .selectFrom("lease_waiters as mine")
    .innerJoin("lease_waiters as before", (join) => join.onRef("before.name", "=", "mine.name").onRef("before.id", "<=", "mine.id"))
    .select(sql<number>`count(*)`.as("n"))
    .where("mine.ticket", "=", request.ticket)
    .executeTakeFirst();
  // No place in line: it was granted to us and dropped as hopeless, because the run that asks has ended.
  return place === undefined || place.n === 0 ? { kind: "timed_out" } : { kind: "waiting", position: place.n };
}

async function abandon(engine: Engine, ticket: string): Promise<void> {
  await engine.transaction(async (tx) => {
    await tx.deleteFrom("lease_waiters").where("ticket", "=", ticket).execute();
    // It may have been granted while the caller was giving up: then nobody would ever release it.
    const granted = await tx
      .selectFrom("leases")
      .select("name")
      .where("state", "=", "held")
      .where("ticket", "=", ticket)
      .executeTakeFirst();
    if (granted === undefined) return;
    const lease = await lockLease(engine, tx, granted.name);
    if (lease?.state === "held" && lease.ticket === ticket)
      await freeLease(tx, lease, { now: engine.now(), actor: "waiter", reason: "abandoned" });
  });
  engine.hint("leases");
}

/** Drops who can never be granted what they wait for, and grants what is free. */
async function tidyWaiters(engine: Engine, names: readonly string[]): ReturnType<LeasesStore["tidyWaiters"]> {
  const done = { dropped: 0, granted: 0 };
  for (const name of names) {
    await engine.transaction(async (tx) => {
      const now = engine.now();
      const lease = await lockLease(engine, tx, name);
      if (lease === undefined) return;
      done.dropped += await dropHopeless(tx, name, now);
      if (lease.state === "free" && (await grantNext(tx, lease, now)) !== undefined) done.granted += 1;
    });
  }
  if (done.granted > 0) engine.hint("leases");
  return done;
}

async function waitersOf(db: Kysely<Database>, leases: readonly RowOf<"leases">[]): Promise<ReadonlyMap<string, number>> {
  if (leases.length === 0) return new Map();
  const rows = await db
    .selectFrom("lease_waiters")
    .select(["name", sql<number>`count(*)`.as("n")])
    .where(
      "name",
      "in",
      leases.map((lease) => lease.name),
    )
    .groupBy("name")
    .execute();
  return new Map(rows.map((row) => [row.name, row.n]));
}

function leaseRow(row: RowOf<"leases">, waiters: ReadonlyMap<string, number>): LeaseRow {
  return {
    name: row.name,
    state: row.state,
    holder: holderOf(row),
    fencing: row.fencing,
    grantedAt: row.granted_at,
    expiresAt: row.expires_at,
    ttlMs: row.ttl_ms,
    maxHoldMs: row.max_hold_ms,
    alertedAt: row.alerted_at,
    waiters: waiters.get(row.name) ?? 0,
  };
}

/** Held leases with what their judge asks of a holding run: one query each for runs, blocks and supervisors, whatever the number of leases. */
async function withHolders(db: Kysely<Database>, leases: readonly RowOf<"leases">[]): Promise<readonly HeldLease[]> {
  if (leases.length === 0) return [];
  const waiters = await waitersOf(db, leases);
  const runIds = leases.flatMap((lease) => (lease.holder_run_id === null ? [] : [lease.holder_run_id]));
  const runs = runIds.length === 0 ? [] : await db.selectFrom(allRuns(db).as("run")).selectAll().where("run.id", "in", runIds).execute();
  const blocks =
    runIds.length === 0
      ? []
      : await db.selectFrom("jobs").select("blocked_by").where("blocked_by", "is not", null).where("blocked_by", "in", runIds).execute();
  const blocked = new Set<RunId | null>(blocks.map((row) => row.blocked_by));
  const workerIds: WorkerId[] = runs.flatMap((run) => (run.worker_id === null ? [] : [run.worker_id]));
  const workers = workerIds.length === 0 ? [] : await db.selectFrom("workers").selectAll().where("id", "in", workerIds).execute();
  return leases.flatMap((lease) => {
    const row = leaseRow(lease, waiters);
    const { holder, grantedAt } = row;
    if (holder === null || grantedAt === null) return [];
    const run = runs.find((candidate) => candidate.id === lease.holder_run_id);
    const worker = workers.find((candidate) => candidate.id === run?.worker_id);
    return [
      {
        ...row,
        holder,
        grantedAt,
        expiresAt: row.expiresAt ?? addMs(grantedAt, row.ttlMs),
        run:
          run === undefined
            ? null
            : {
                state: run.state,
                process: processOf(run),
                blocked: blocked.has(run.id),
                supervisor: worker === undefined ? null : supervisorRow(worker),
              },
      },
    ];
  });
}
