import type { Kysely } from "kysely";
import { firstIdOfEpoch } from "../../domain/ids.ts";
import { addMs, type Instant } from "../../domain/time.ts";
import { type Engine, lockRows } from "../engine/engine.ts";
import { storeEpochOf } from "../engine/store-epoch.ts";
import type { Database, RowOf } from "../engine/tables.ts";
import { appendActions } from "../records/action-log.ts";
import { noHolder } from "./lease-holder.ts";

/**
 * Whoever changes a lease or its waiters holds the lease's row, which is never deleted: grants of one lease follow one another, and its
 * fencing number never goes back.
 */
export async function lockLease(engine: Engine, tx: Kysely<Database>, name: string): Promise<RowOf<"leases"> | undefined> {
  return await lockRows(engine, tx.selectFrom("leases").selectAll().where("name", "=", name)).executeTakeFirst();
}

/** The lease's row, made when nobody has asked for it yet, and locked. */
export async function ensureLease(
  engine: Engine,
  tx: Kysely<Database>,
  lease: { readonly name: string; readonly ttlMs: number; readonly maxHoldMs: number },
) {
  await tx
    .insertInto("leases")
    .values({ name: lease.name, state: "free", fencing: 0, ttl_ms: lease.ttlMs, max_hold_ms: lease.maxHoldMs })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  const row = await lockLease(engine, tx, lease.name);
  if (row === undefined) throw new Error(`lease ${lease.name} was made and is not there`);
  return row;
}

/** Grants a free, locked lease to the first waiter who can still want it. Answers the new fencing number, or undefined: it stays free. */
export async function grantNext(
  tx: Kysely<Database>,
  lease: RowOf<"leases">,
  now: Instant,
): Promise<{ readonly ticket: string; readonly fencing: number } | undefined> {
  await dropHopeless(tx, lease.name, now);
  const waiter = await tx.selectFrom("lease_waiters").selectAll().where("name", "=", lease.name).orderBy("id").limit(1).executeTakeFirst();
  if (waiter === undefined) return undefined;
  const fencing = Math.max(lease.fencing, firstIdOfEpoch(await storeEpochOf(tx))) + 1;
  await tx
    .updateTable("leases")
    .set({
      state: "held",
      holder_run_id: waiter.holder_run_id,
      holder_host_id: waiter.holder_host_id,
      holder_boot_id: waiter.holder_boot_id,
      holder_pid_namespace: waiter.holder_pid_namespace,
      holder_pid: waiter.holder_pid,
      holder_start_time: waiter.holder_start_time,
      ticket: waiter.ticket,
      fencing,
      ttl_ms: waiter.ttl_ms,
      max_hold_ms: waiter.max_hold_ms,
      granted_at: now,
      expires_at: addMs(now, waiter.ttl_ms),
      alerted_at: null,
    })
    .where("name", "=", lease.name)
    .where("state", "=", "free")
    .execute();
  await tx.deleteFrom("lease_waiters").where("id", "=", waiter.id).execute();
  return { ticket: waiter.ticket, fencing };
}

/** Waiters past their time, and runs that ended while they waited. Answers how many. */
export async function dropHopeless(tx: Kysely<Database>, name: string, now: Instant): Promise<number> {
  const result = await tx
    .deleteFrom("lease_waiters")
    .where("name", "=", name)
    .where((eb) =>
      eb.or([
        eb("timeout_at", "<=", now),
        eb.exists(eb.selectFrom("runs").select("runs.id").whereRef("runs.id", "=", "lease_waiters.holder_run_id")),
      ]),
    )
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}

/** Frees a locked, held lease and passes it on. */
export async function freeLease(
  tx: Kysely<Database>,
  lease: RowOf<"leases">,
  options: { readonly now: Instant; readonly actor: string; readonly reason: string },
): Promise<void> {
  const { now, actor, reason } = options;
  await tx
    .updateTable("leases")
    .set({ state: "free", ...noHolder, ticket: null, granted_at: null, expires_at: null, alerted_at: null })
    .where("name", "=", lease.name)
    .where("fencing", "=", lease.fencing)
    .where("state", "=", "held")
    .execute();
  const next = await grantNext(tx, { ...lease, state: "free" }, now);
  await appendActions(tx, now, [
    {
      action: "lease.released",
      actor,
      reason,
      message: next === undefined ? "nobody waits for it" : `granted to the next in line under fencing number ${next.fencing}`,
      runId: lease.holder_run_id,
      lease: lease.name,
    },
  ]);
}
