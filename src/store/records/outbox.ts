import { sql } from "kysely";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import { repeated } from "../engine/repeated.ts";
import type { RowOf } from "../engine/tables.ts";
import type { OutboxRow, OutboxStore } from "../port/records.ts";
import { putOutboxEntry } from "./outbox-entries.ts";

export function createOutbox(engine: Engine): OutboxStore {
  const { kysely } = engine;
  const due = repeated(engine, ({ now, limit }: { readonly now: Instant; readonly limit: number }) =>
    kysely
      .selectFrom("outbox")
      .selectAll()
      .where("due_at", "is not", null)
      .where("due_at", "<=", now)
      .orderBy("due_at")
      .orderBy("id")
      .limit(limit)
      .compile(),
  );
  return {
    put: async (entry) => {
      await putOutboxEntry(kysely, engine.now(), entry);
      engine.hint("outbox");
    },
    due: async (limit) => (await due({ now: engine.now(), limit })).map(outboxRow),
    done: async ({ id, revision }) => {
      await kysely.deleteFrom("outbox").where("id", "=", id).where("revision", "=", revision).execute();
    },
    failed: async ({ id, error, dueAt, dead }) => {
      await kysely
        .updateTable("outbox")
        .set({ attempts: sql<number>`attempts + 1`, last_error: error, due_at: dead ? null : dueAt })
        .where("id", "=", id)
        .execute();
    },
    listDead: async (limit) => {
      const rows = await kysely.selectFrom("outbox").selectAll().where("due_at", "is", null).orderBy("id").limit(limit).execute();
      return rows.map(outboxRow);
    },
    depth: async () => {
      const row = await kysely.selectFrom("outbox").select(sql<number>`count(*)`.as("n")).executeTakeFirstOrThrow();
      return row.n;
    },
  };
}

function outboxRow(row: RowOf<"outbox">): OutboxRow {
  return {
    id: row.id,
    kind: row.kind,
    key: row.key,
    payload: row.payload,
    attempts: row.attempts,
    // A dead letter is due no more; its callers see when it was made.
    dueAt: row.due_at ?? row.created_at,
    createdAt: row.created_at,
    revision: row.revision,
    lastError: row.last_error,
  };
}
