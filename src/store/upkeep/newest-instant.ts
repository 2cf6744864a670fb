import { type Kysely, sql } from "kysely";
import type { Instant } from "../../domain/time.ts";
import type { Database } from "../engine/tables.ts";

/**
 * The newest instant that the store holds, below which its clock must not begin. Read at the ends of indexes and of small tables, so that
 * the cost does not grow with history; what is newer than all of these is at most a beat old.
 */
export async function newestInstant(db: Kysely<Database>): Promise<Instant | undefined> {
  const { rows } = await sql<{ newest: number | null }>`
    select max(at) as newest from (
      select max(at) as at from action_logs
      union all select max(finished_at) from jobs where finished_at is not null
      union all select max(finished_at) from items where finished_at is not null
      union all select created_at from jobs where id = (select max(id) from jobs)
      union all select reserved_at from runs where id = (select max(id) from runs)
      union all select max(last_heard_at) from workers
      union all select max(seen_at) from hosts
    ) as instants`.execute(db);
  const newest = rows[0]?.newest ?? null;
  return newest === null ? undefined : (newest as Instant);
}
