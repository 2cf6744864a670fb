import type { Engine } from "../engine/engine.ts";
import type { RunsStore } from "../port/runs.ts";
import type { WorkersStore } from "../port/workers.ts";
import { type HeldRow, type PresenceRow, plainRun, presenceOf, readHeld } from "../runs/held-run-row.ts";

const presence = `
  select count(*)::integer as alive, coalesce(json_agg(json_build_array(id, last_heard_at, host_id, boot_id, pid_namespace, pid, start_time) order by id)
    filter (where host_id = $1 or last_heard_at <= $2), '[]')::text as text
  from workers where state in ('live', 'draining')`;

/** `id + 0`: in the order of the key the planner would pass by the runs of all other sessions. */
const held = (condition: string): string => `
  select coalesce(json_agg(json_build_array(id, job_id, owner_epoch, kind, state) order by id), '[]')::text as text
  from (select id, job_id, owner_epoch, kind, state from runs
        where worker_id = $1 and ended_at is null and id + 0 > $2 ${condition} order by id + 0 limit $3) r`;
const heldByAny = held("");
const heldPlain = held(plainRun);

/** What is read each second of every session, and of what the dead among them held. */
export function createHeldReads(engine: Pick<Engine, "rows">): Pick<WorkersStore, "listPresence"> & Pick<RunsStore, "listHeld"> {
  return {
    listPresence: async ({ hostId, silentSince }) => {
      const [row] = await engine.rows<{ alive: number; text: string }>(presence, [hostId, silentSince]);
      return { alive: row?.alive ?? 0, sessions: (JSON.parse(row?.text ?? "[]") as readonly PresenceRow[]).map(presenceOf) };
    },
    listHeld: async (options) =>
      await readHeld(options, async ({ workerId, afterRun, limit }) => {
        const [row] = await engine.rows<{ text: string }>(options.only === undefined ? heldByAny : heldPlain, [workerId, afterRun, limit]);
        return JSON.parse(row?.text ?? "[]") as readonly HeldRow[];
      }),
  };
}
