import type { Engine } from "../engine/engine.ts";
import { repeated } from "../engine/repeated.ts";
import type { RowOf } from "../engine/tables.ts";
import type { DuplicateRow, DuplicatesStore } from "../port/records.ts";
import { appendActions } from "../records/action-log.ts";

export function createDuplicates(engine: Engine): DuplicatesStore {
  const { kysely } = engine;
  const decided = repeated(engine, () =>
    kysely
      .selectFrom("duplicates")
      .selectAll()
      .where("decision", "is not", null)
      .where("done_at", "is", null)
      .orderBy("id")
      .limit(1000)
      .compile(),
  );
  return {
    add: async (duplicate) => await add(engine, duplicate),
    get: async (id) => {
      const row = await kysely.selectFrom("duplicates").selectAll().where("id", "=", id).executeTakeFirst();
      return row === undefined ? undefined : duplicateRow(row);
    },
    decide: async (id, decision, actor) => await decide(engine, id, { decision, actor }),
    listDecided: async () => (await decided({})).map(duplicateRow),
    finish: async (id) => {
      const result = await kysely
        .updateTable("duplicates")
        .set({ done_at: engine.now() })
        .where("id", "=", id)
        .where("decision", "is not", null)
        .where("done_at", "is", null)
        .executeTakeFirst();
      return result.numUpdatedRows > 0n;
    },
    list: async (limit) => {
      const rows = await kysely.selectFrom("duplicates").selectAll().orderBy("id", "desc").limit(limit).execute();
      return rows.map(duplicateRow);
    },
    removeDone: async ({ doneBefore, limit }) => {
      // Undecided duplicates have no `done_at`, nor have decisions that are not carried out yet.
      const old = kysely
        .selectFrom("duplicates")
        .select("id")
        .where("done_at", "is not", null)
        .where("done_at", "<", doneBefore)
        .orderBy("done_at")
        .orderBy("id")
        .limit(limit);
      const { numDeletedRows } = await kysely.deleteFrom("duplicates").where("id", "in", old).executeTakeFirst();
      return Number(numDeletedRows);
    },
  };
}

async function add(engine: Engine, duplicate: Parameters<DuplicatesStore["add"]>[0]): ReturnType<DuplicatesStore["add"]> {
  // The same file seen again, after a crash between the move and the row: the row that is there is kept.
  const row = await engine.kysely
    .insertInto("duplicates")
    .values({
      pipeline: duplicate.pipeline,
      key: duplicate.key,
      existing_item_id: duplicate.existingItemId,
      file_name: duplicate.fileName,
      path: duplicate.path,
      size_bytes: duplicate.sizeBytes,
      detected_at: engine.now(),
    })
    .onConflict((conflict) => conflict.column("path").doUpdateSet({ path: (eb) => eb.ref("excluded.path") }))
    .returning("id")
    .executeTakeFirstOrThrow();
  engine.hint("items");
  return row.id;
}

async function decide(
  engine: Engine,
  id: DuplicateRow["id"],
  { decision, actor }: { readonly decision: Parameters<DuplicatesStore["decide"]>[1]; readonly actor: string },
): Promise<boolean> {
  const won = await engine.transaction(async (tx) => {
    const now = engine.now();
    const row = await tx
      .updateTable("duplicates")
      .set({ decision, decided_at: now })
      .where("id", "=", id)
      .where("decision", "is", null)
      .returning(["existing_item_id", "file_name"])
      .executeTakeFirst();
    if (row === undefined) return false;
    await appendActions(tx, now, [
      { action: "duplicate.decided", actor, reason: decision, message: row.file_name, itemId: row.existing_item_id },
    ]);
    return true;
  });
  if (won) engine.hint("items");
  return won;
}

function duplicateRow(row: RowOf<"duplicates">): DuplicateRow {
  return {
    id: row.id,
    pipeline: row.pipeline,
    key: row.key,
    existingItemId: row.existing_item_id,
    fileName: row.file_name,
    path: row.path,
    sizeBytes: row.size_bytes,
    detectedAt: row.detected_at,
    decision: row.decision,
    decidedAt: row.decided_at,
    doneAt: row.done_at,
  };
}
