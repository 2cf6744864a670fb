import { setImmediate as nextTurn } from "node:timers/promises";
import { CompiledQuery } from "kysely";
import { indexText, type MigrationTarget } from "../engine/migrator.ts";
import type { SqliteEngine } from "./engine.ts";

/** What the migrator needs of the embedded engine: its process owns the file, and its write transactions are alone in it. */
export function targetOf(engine: SqliteEngine): MigrationTarget {
  const { connection, kysely } = engine;
  return {
    kysely,
    name: connection.name,
    now: engine.now,
    // What the log beside the file grows by, at the least.
    sliceRowsMax: 20_000,
    hasHistory: async (db) => {
      const found = await db.executeQuery<{ n: number }>(
        CompiledQuery.raw("select count(*) as n from sqlite_schema where type = 'table' and name = 'migrations'"),
      );
      return (found.rows[0]?.n ?? 0) > 0;
    },
    alone: async (body) =>
      await body({
        db: kysely,
        // The file has one owner: nobody is kept out.
        sayVersion: async () => undefined,
        transaction: async (work, { rebuilds } = { rebuilds: false }) => {
          const result = await (rebuilds ? engine.rebuild(work) : engine.transaction(work));
          // Slices would otherwise follow each other without a turn for timers and signals.
          await nextTurn();
          return result;
        },
        // The driver's exec takes many statements; the transaction that holds the connection is open on it.
        runText: async (_tx, text) => connection.db.exec(text),
        buildIndex: async (index) =>
          await engine.transaction(async (tx) => {
            await tx.executeQuery(CompiledQuery.raw(indexText(index, "if not exists ")));
          }),
      }),
  };
}
