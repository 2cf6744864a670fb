import type { Engine } from "../engine/engine.ts";
import type { RowOf } from "../engine/tables.ts";
import type { ActionRow, ActionsStore } from "../port/records.ts";
import { appendActions } from "./action-log.ts";

export function createActions(engine: Engine): ActionsStore {
  return {
    append: async (actions) => {
      await appendActions(engine.kysely, engine.now(), actions);
    },
    list: async (options) => {
      // Newest first, unless the caller continues after a row that it has seen.
      const forward = options.after !== undefined && options.before === undefined;
      let query = engine.kysely
        .selectFrom("action_logs")
        .selectAll()
        .orderBy("id", forward ? "asc" : "desc")
        .limit(options.limit);
      if (options.jobId !== undefined) query = query.where("job_id", "=", options.jobId);
      if (options.runId !== undefined) query = query.where("run_id", "=", options.runId);
      if (options.itemId !== undefined) query = query.where("item_id", "=", options.itemId);
      if (options.workerId !== undefined) query = query.where("worker_id", "=", options.workerId);
      if (options.lease !== undefined) query = query.where("lease", "=", options.lease);
      if (options.before !== undefined) query = query.where("id", "<", options.before);
      if (options.after !== undefined) query = query.where("id", ">", options.after);
      return (await query.execute()).map(actionRow);
    },
  };
}

function actionRow(row: RowOf<"action_logs">): ActionRow {
  return {
    id: row.id,
    at: row.at,
    action: row.action,
    actor: row.actor,
    reason: row.reason,
    message: row.message,
    evidence: row.evidence,
    jobId: row.job_id,
    runId: row.run_id,
    itemId: row.item_id,
    workerId: row.worker_id,
    lease: row.lease,
    correlationId: row.correlation_id,
  };
}
