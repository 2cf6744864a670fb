import { type Kysely, sql } from "kysely";
import type { Database } from "../engine/tables.ts";
import type { OldTransaction } from "../port/old-readers.ts";

/** More tell nobody more, and a pool that leaks may hold hundreds. */
const transactionsMax = 50;

/**
 * Whatever keeps rows of this database from being vacuumed, those that hold back most first. Every role is shown pids and ages in
 * transactions; states and times only members of `pg_read_all_stats`.
 */
export async function oldTransactions(db: Kysely<Database>): Promise<readonly OldTransaction[]> {
  const { rows } = await sql<OldTransaction>`
    select 'session' as kind, pid, coalesce(application_name, '') as name, usename as user, datname as database, state,
        (extract(epoch from clock_timestamp() - xact_start) * 1000)::bigint as "ageMs",
        greatest(age(backend_xmin), age(backend_xid)) as transactions, false as "catalogOnly",
        coalesce((select rolsuper from pg_roles where oid = usesysid), false) as "bySuperuser"
      from pg_stat_activity
      where coalesce(backend_xmin, backend_xid) is not null and pid <> pg_backend_pid() and coalesce(datname, current_database()) = current_database()
        and coalesce(backend_type, '') <> 'autovacuum worker' and pid not in (select pid from pg_stat_progress_vacuum where pid is not null)
    union all
    select 'prepared_transaction', null, gid, owner, database, null,
        (extract(epoch from clock_timestamp() - prepared) * 1000)::bigint, age(transaction), false, false
      from pg_prepared_xacts where database = current_database()
    union all
    select 'replication_slot', active_pid, slot_name, null, database, case when active then 'active' else 'inactive' end,
        null, coalesce(age(xmin), age(catalog_xmin)), xmin is null, false
      from pg_replication_slots where coalesce(xmin, catalog_xmin) is not null
    order by transactions desc, kind, pid, name limit ${transactionsMax}`.execute(db);
  return rows;
}
