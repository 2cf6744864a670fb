import { type Kysely, type RawBuilder, type SqlBool, sql } from "kysely";
import type { JobId } from "../../domain/ids.ts";
import type { Database, RowOf } from "../engine/tables.ts";

/** A job that may be claimed now. Over table `jobs`; the end of a run writes it out by itself. */
const claimable: RawBuilder<SqlBool> = sql<boolean>`jobs.state = 'queued' and jobs.blocked_by is null and jobs.paused is false
  and not exists (select 1 from live where live.job_id = jobs.id)`;

/**
 * Makes those of these jobs claimable that may be claimed as they are now: by any worker, or by those of the host that holds the item's
 * files. Call it with their rows locked, after what was changed.
 */
export async function makeReady(tx: Kysely<Database>, jobIds: readonly JobId[]): Promise<void> {
  if (jobIds.length === 0) return;
  await sql`insert into ready (queue_id, priority, job_id)
    select jobs.queue_id, jobs.priority, jobs.id from jobs where jobs.id in (${sql.join(jobIds)}) and jobs.host_id is null and ${claimable}
    on conflict (queue_id, priority, job_id) do nothing`.execute(tx);
  await sql`insert into ready_on_host (host_id, queue_id, priority, job_id)
    select jobs.host_id, jobs.queue_id, jobs.priority, jobs.id from jobs
    where jobs.id in (${sql.join(jobIds)}) and jobs.host_id is not null and ${claimable}
    on conflict (host_id, queue_id, priority, job_id) do nothing`.execute(tx);
}

/** A job's place among those that may be claimed, whether it stands there or not. */
type Place = Pick<RowOf<"jobs">, "id" | "queue_id" | "priority" | "host_id">;

/** Takes a job out of what may be claimed. Its row must be locked by `lockJob`, so that no claim is under way. */
export async function removeFromReady(tx: Kysely<Database>, { id, queue_id, priority, host_id }: Place): Promise<void> {
  const place = sql`queue_id = ${queue_id} and priority = ${priority} and job_id = ${id}`;
  if (host_id === null) await sql`delete from ready where ${place}`.execute(tx);
  else await sql`delete from ready_on_host where host_id = ${host_id} and ${place}`.execute(tx);
}

/** Locks a job's place in `ready`: a claim that is taking it is waited for. Only where the engine has row locks. */
export async function lockReady(tx: Kysely<Database>, { id, queue_id, priority, host_id }: Place): Promise<void> {
  const place = sql`queue_id = ${queue_id} and priority = ${priority} and job_id = ${id}`;
  if (host_id === null) await sql`select job_id from ready where ${place} for update`.execute(tx);
  else await sql`select job_id from ready_on_host where host_id = ${host_id} and ${place} for update`.execute(tx);
}
