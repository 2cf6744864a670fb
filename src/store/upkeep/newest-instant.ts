import { type Kysely, sql } from "kysely";
import type { Instant } from "../../domain/time.ts";
import type { Database } from "../engine/tables.ts";

/**
 * The newest stored instant, below which the store's clock must not begin. History costs nothing: only ends of indexes are read. An end
 * that this misses is newer than its session's last renewal by a beat at most.
 */
export async function newestInstant(db: Kysely<Database>): Promise<Instant | undefined> {
  const { rows } = await sql<{ newest: number | null }>`
    select max(at) as newest from (
      select max(at) as at from action_logs
      union all select max(finished_at) from items where finished_at is not null
      union all select created_at from jobs where id = (select max(id) from jobs)
      union all select ended_at from runs where id = (select max(id) from runs)
      union all select reserved_at from live where id = (select max(id) from live)
      union all select max(last_heard_at) from workers
      union all select max(seen_at) from hosts
    ) as instants`.execute(db);
  const newest = rows[0]?.newest ?? null;
  return newest === null ? undefined : (newest as Instant);
}
