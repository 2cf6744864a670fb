import type { VisitId } from "../../domain/ids.ts";
import type { RowOf } from "../engine/tables.ts";
import type { ItemRow, VisitRow } from "../port/items.ts";

/** A row of `items`. It names its visit from the transaction on that made it. */
export function itemRow(row: RowOf<"items">): ItemRow {
  return {
    id: row.id,
    pipeline: row.pipeline,
    pipelineVersion: row.pipeline_version,
    key: row.key,
    dir: row.dir,
    state: row.state,
    stage: row.stage,
    // Null only between the insert of an item and that of its first visit, in one transaction.
    visitId: row.visit_id as VisitId,
    input: row.input,
    label: row.label,
    repo: row.repo,
    branch: row.branch,
    error: row.error,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    finishedAt: row.finished_at,
  };
}

/** A row of `visits`. */
export function visitRow(row: RowOf<"visits">): VisitRow {
  return {
    id: row.id,
    itemId: row.item_id,
    stage: row.stage,
    number: row.number,
    state: row.state,
    counts: Boolean(row.counts),
    attempts: row.attempts,
    maxAttempts: row.max_attempts,
    losses: row.losses,
    maxLosses: row.max_losses,
    openedAt: row.opened_at,
    closedAt: row.closed_at,
    output: row.output,
  };
}
