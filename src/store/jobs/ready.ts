import { type Kysely, type RawBuilder, type SqlBool, sql } from "kysely";
import type { JobId } from "../../domain/ids.ts";
import type { Database, RowOf } from "../engine/tables.ts";

/** A job that may be claimed now. Over table `jobs`; the end of a run writes it out by itself. */
const claimable: RawBuilder<SqlBool> = sql<boolean>`jobs.state = 'queued' and jobs.blocked_by is null and jobs.paused is false
  and not exists (select 1 from live where live.job_id = jobs.id)`;

/** Makes those of these jobs claimable that may be claimed as they are now. Call it with their rows locked, after what was changed. */
export async function makeReady(tx: Kysely<Database>, jobIds: readonly JobId[]): Promise<void> {
  if (jobIds.length === 0) return;
  await sql`insert into ready (queue_id, priority, job_id)
    select jobs.queue_id, jobs.priority, jobs.id from jobs where jobs.id in (${sql.join(jobIds)}) and ${claimable}
    on conflict (queue_id, priority, job_id) do nothing`.execute(tx);
}

/** Takes a job out of what may be claimed. Its row must be locked by `lockJob`, so that no claim is under way. */
export async function removeFromReady(tx: Kysely<Database>, job: Pick<RowOf<"jobs">, "id" | "queue_id" | "priority">): Promise<void> {
  await tx
    .deleteFrom("ready")
    .where("queue_id", "=", job.queue_id)
    .where("priority", "=", job.priority)
    .where("job_id", "=", job.id)
    .execute();
}
