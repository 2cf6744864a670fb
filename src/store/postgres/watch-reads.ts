import { type Kysely, type RawBuilder, sql } from "kysely";
import type { Database } from "../database.ts";
import type { RunsStore } from "../port/runs.ts";
import type { WorkersStore } from "../port/workers.ts";
import { type HeldRow, type PresenceRow, presenceOf, readHeld } from "../rows/watch-row.ts";

const presence = sql<{ text: string }>`
  select coalesce(json_agg(json_build_array(id, last_heard_at, host_id, boot_id, pid_namespace, pid, start_time) order by id), '[]')::text as text
  from workers where state in ('live', 'draining')`;

/** `id + 0`: in the order of the key the planner would pass by the runs of all other sessions. */
const held = (workerId: number, afterRun: number, limit: number): RawBuilder<{ text: string }> => sql<{ text: string }>`
  select coalesce(json_agg(json_build_array(id, job_id, owner_epoch, kind, state) order by id), '[]')::text as text
  from (select id, job_id, owner_epoch, kind, state from runs
        where worker_id = ${workerId} and ended_at is null and id + 0 > ${afterRun} order by id + 0 limit ${limit}) r`;

/** What is read each second of every session, and of what the dead among them held. */
export function createWatchReads(kysely: Kysely<Database>): Pick<WorkersStore, "listPresence"> & Pick<RunsStore, "listHeld"> {
  const read = async (query: RawBuilder<{ text: string }>): Promise<unknown> => {
    const { rows } = await query.execute(kysely);
    return JSON.parse(rows[0]?.text ?? "[]");
  };
  return {
    listPresence: async () => ((await read(presence)) as readonly PresenceRow[]).map(presenceOf),
    listHeld: async (options) =>
      await readHeld(options, async ({ workerId, afterRun, limit }) => (await read(held(workerId, afterRun, limit))) as readonly HeldRow[]),
  };
}
