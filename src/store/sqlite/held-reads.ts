import type { RunsStore } from "../port/runs.ts";
import type { WorkersStore } from "../port/workers.ts";
import { type HeldRow, type PresenceRow, plainRun, presenceOf, readHeld } from "../runs/held-run-row.ts";
import type { SqliteConnection } from "./connection.ts";

const presence = `
  select count(*) as alive, json_group_array(json_array(id, last_heard_at, host_id, boot_id, pid_namespace, pid, start_time))
    filter (where host_id = ? or last_heard_at <= ?) as text
  from (select * from workers where state in ('live', 'draining') order by id)`;

const held = (condition: string): string => `
  select json_group_array(json_array(id, job_id, owner_epoch, kind, state)) as text
  from (select id, job_id, owner_epoch, kind, state from runs indexed by runs_of_worker
        where worker_id = ? and ended_at is null and id > ? ${condition} order by id limit ?)`;
const heldByAny = held("");
const heldPlain = held(plainRun);

/** What is read each second of every session, and of what the dead among them held. */
export function createHeldReads(connection: SqliteConnection): Pick<WorkersStore, "listPresence"> & Pick<RunsStore, "listHeld"> {
  const read = async <Row>(sql: string, ...parameters: readonly (number | string)[]): Promise<Row> =>
    await connection.exclusive(() => connection.prepare(sql).get(...parameters) as Row);
  return {
    listPresence: async ({ hostId, silentSince }) => {
      const { alive, text } = await read<{ alive: number; text: string }>(presence, hostId, silentSince);
      return { alive, sessions: (JSON.parse(text) as readonly PresenceRow[]).map(presenceOf) };
    },
    listHeld: async (options) =>
      await readHeld(options, async ({ workerId, afterRun, limit }) => {
        const { text } = await read<{ text: string }>(options.only === undefined ? heldByAny : heldPlain, workerId, afterRun, limit);
        return JSON.parse(text) as readonly HeldRow[];
      }),
  };
}
