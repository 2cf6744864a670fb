import type { RowOf } from "../engine/tables.ts";
import type { JobRow } from "../port/jobs.ts";

/** A row of `jobs` joined with its queue's name. */
export function jobRow(row: RowOf<"jobs"> & { readonly queue: string }): JobRow {
  return {
    id: row.id,
    queue: row.queue,
    state: row.state,
    priority: row.priority,
    runAt: row.run_at,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
    attempts: row.attempts,
    maxAttempts: row.max_attempts,
    losses: row.losses,
    maxLosses: row.max_losses,
    runCount: row.run_count,
    currentRunId: row.current_run_id,
    blockedBy: row.blocked_by,
    stopBy: row.stop_by,
    paused: Boolean(row.paused),
    itemId: row.item_id,
    visitId: row.visit_id,
    agent: row.agent,
    repo: row.repo,
    payload: row.payload,
    output: row.output,
    error: row.error,
  };
}
