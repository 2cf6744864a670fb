import { sql } from "kysely";
import type { Engine } from "../engine/engine.ts";
import { writeMeta } from "../engine/store-epoch.ts";
import type { ItemsStore } from "../port/items.ts";

/** Declarations share the small table of the store's own numbers, under names of their own. */
const declares = "declares:";

/** Versions of pipelines by content hash; one of each pipeline is the current one. */
export function createPipelineVersions(
  engine: Engine,
): Pick<ItemsStore, "putPipeline" | "getPipeline" | "listPipelines" | "declarePipelines" | "declaredPipelines"> {
  const { kysely } = engine;
  return {
    putPipeline: async ({ pipeline, hash, definition }) => {
      await engine.transaction(async (tx) => {
        // The old current version is cleared first: a pipeline has at most one at any instant.
        await tx
          .updateTable("pipeline_versions")
          .set({ current: false })
          .where("pipeline", "=", pipeline)
          .where("hash", "<>", hash)
          .where("current", "is", true)
          .execute();
        await tx
          .insertInto("pipeline_versions")
          .values({ pipeline, hash, definition, put_at: engine.now(), current: true })
          .onConflict((conflict) => conflict.columns(["pipeline", "hash"]).doUpdateSet({ current: true }))
          .execute();
      });
      engine.hint("items");
    },
    getPipeline: async (pipeline, hash) => {
      const query = kysely.selectFrom("pipeline_versions").select(["hash", "definition"]).where("pipeline", "=", pipeline);
      return await (hash === undefined ? query.where("current", "is", true) : query.where("hash", "=", hash)).executeTakeFirst();
    },
    declarePipelines: async ({ hostId, pipelines }) => {
      if (!engine.capabilities.manyWriters) return;
      await writeMeta(kysely, `${declares}${hostId}`, JSON.stringify(pipelines.toSorted()));
    },
    declaredPipelines: async () => {
      if (!engine.capabilities.manyWriters) return [];
      const rows = await kysely
        .selectFrom("meta")
        .select("value")
        .where("name", "like", `${declares}%`)
        // The data directory of a host that has no session left, not even an ended one, is gone for good.
        .where((eb) =>
          eb.exists(eb.selectFrom("workers").select("workers.id").where(sql<boolean>`meta.name = ${declares} || workers.host_id`)),
        )
        .execute();
      return [...new Set(rows.flatMap(({ value }) => JSON.parse(value) as string[]))].toSorted();
    },
    listPipelines: async () => {
      const versions = await kysely
        .selectFrom("pipeline_versions")
        .select(["pipeline", "hash"])
        .where("current", "is", true)
        .orderBy("pipeline")
        .execute();
      const queues = await kysely.selectFrom("queues").select(["name", "paused"]).execute();
      return versions.map(({ pipeline, hash }) => {
        const own = queues.filter((queue) => queue.name.startsWith(`${pipeline}/`));
        return { pipeline, hash, paused: own.length > 0 && own.every((queue) => Boolean(queue.paused)) };
      });
    },
  };
}
