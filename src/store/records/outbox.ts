import { sql } from "kysely";
import type { HostId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import { repeated } from "../engine/repeated.ts";
import type { RowOf } from "../engine/tables.ts";
import type { OutboxRow, OutboxStore } from "../port/records.ts";
import { putOutboxEntry } from "./outbox-entries.ts";
import { claimRows, isFree, prolongClaims, releaseClaims } from "./row-claims.ts";

const table = "outbox";
const free = { claimed_by: null, claimed_until: null } as const;

export function createOutbox(engine: Engine): OutboxStore {
  const { kysely } = engine;
  const dueFor = dueForOf(engine);
  return {
    put: async (entry) => {
      await putOutboxEntry(kysely, engine.now(), entry);
      engine.hint("outbox");
    },
    due: async (limit) => {
      const rows = await kysely
        .selectFrom("outbox")
        .selectAll()
        .where("due_at", "is not", null)
        .where("due_at", "<=", engine.now())
        .where(isFree(engine.now()))
        .orderBy("due_at")
        .orderBy("id")
        .limit(limit)
        .execute();
      return rows.map(outboxRow);
    },
    dueFor: async ({ hostId, limit }) => (await dueFor({ hostId, limit, now: engine.now() })).map(outboxRow),
    claim: async ({ hostId, entries }) => {
      const claims = await claimRows(engine, { table, ids: entries.map(({ id }) => id), by: hostId });
      const fences = new Map(claims.map(({ id, claimFence }) => [id, claimFence]));
      return entries.flatMap((entry) => {
        const claimFence = fences.get(entry.id);
        return claimFence === undefined ? [] : [{ ...entry, claimFence }];
      });
    },
    prolong: async (claims) => await prolongClaims(engine, { table, claims }),
    release: async (hostId) => {
      await releaseClaims(engine, { table, by: hostId });
      engine.hint("outbox");
    },
    done: async ({ id, revision, claimFence }) => {
      const gone = await kysely
        .deleteFrom("outbox")
        .where("id", "=", id)
        .where("revision", "=", revision)
        .where("claim_fence", "=", claimFence)
        .executeTakeFirst();
      if (gone.numDeletedRows > 0n) return true;
      // Written again meanwhile: it is due as it is now.
      const left = await kysely
        .updateTable("outbox")
        .set(free)
        .where("id", "=", id)
        .where("claim_fence", "=", claimFence)
        .executeTakeFirst();
      if (left.numUpdatedRows === 0n) return false;
      engine.hint("outbox");
      return true;
    },
    failed: async ({ id, claimFence, error, dueAt, dead, underWay }) => {
      const noted = await kysely
        .updateTable("outbox")
        .set({ attempts: sql<number>`attempts + 1`, last_error: error, due_at: dead ? null : dueAt, ...(underWay ? {} : free) })
        .where("id", "=", id)
        .where("claim_fence", "=", claimFence)
        .executeTakeFirst();
      return noted.numUpdatedRows > 0n;
    },
    letGo: async ({ id, claimFence }) => {
      await kysely.updateTable("outbox").set(free).where("id", "=", id).where("claim_fence", "=", claimFence).execute();
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

/** What is due, free, and anybody's or this host's, each read in the order of the index: entries of a host that is away are not walked. */
const dueForOf = (engine: Engine) =>
  repeated(engine, ({ hostId, limit, now }: { readonly hostId: HostId; readonly limit: number; readonly now: Instant }) => {
    const of = (host: HostId | null) =>
      engine.kysely
        .selectFrom("outbox")
        .selectAll()
        .where("host_id", host === null ? "is" : "=", host)
        .where("due_at", "is not", null)
        .where("due_at", "<=", now)
        .where(isFree(now))
        .orderBy("due_at")
        .orderBy("id")
        .limit(limit);
    const both = engine.kysely
      .selectFrom(of(null).as("anybodys"))
      .selectAll()
      .unionAll(engine.kysely.selectFrom(of(hostId).as("own")).selectAll());
    return engine.kysely.selectFrom(both.as("both")).selectAll().orderBy("due_at").orderBy("id").limit(limit).compile();
  });

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
    claimFence: row.claim_fence,
  };
}
