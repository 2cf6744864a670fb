import type { Engine } from "../engine/engine.ts";
import type { DaemonsStore } from "../port/daemons.ts";
import { identityOfColumns } from "./worker-row.ts";

export function createDaemons(engine: Engine): DaemonsStore {
  const { kysely } = engine;
  return {
    begin: async ({ process, place, version }) => {
      const now = engine.now();
      const row = {
        boot_id: process.bootId,
        pid_namespace: process.pidNamespace,
        pid: process.pid,
        start_time: process.startTime,
        place,
        version,
        started_at: now,
        heard_at: now,
        ended_at: null,
      };
      await kysely
        .insertInto("daemons")
        .values({ host_id: process.hostId, ...row })
        .onConflict((conflict) => conflict.column("host_id").doUpdateSet(row))
        .execute();
    },
    beat: async (hostId) => {
      await kysely.updateTable("daemons").set({ heard_at: engine.now(), ended_at: null }).where("host_id", "=", hostId).execute();
    },
    end: async (hostId) => {
      await kysely.updateTable("daemons").set({ ended_at: engine.now() }).where("host_id", "=", hostId).execute();
    },
    list: async () => {
      const rows = await kysely.selectFrom("daemons").selectAll().orderBy("started_at").orderBy("host_id").execute();
      return rows.map((row) => ({
        process: identityOfColumns(row),
        place: row.place,
        version: row.version,
        startedAt: row.started_at,
        heardAt: row.heard_at,
        endedAt: row.ended_at,
      }));
    },
  };
}
