import type { RunId } from "../../domain/ids.ts";
import type { RunState } from "../../domain/lifecycles/run.ts";
import type { RowOf } from "../engine/tables.ts";
import type { JobRow } from "../port/jobs.ts";
import { stateOf } from "./job-state.ts";

/** A row of `jobs` joined with its queue's name and its live run. */
export interface JobColumns extends RowOf<"jobs"> {
  readonly queue: string;
  readonly live_run_id: RunId | null;
  readonly live_run_state: RunState | null;
}

/** Its counts are those of its ended runs: a live run is one more, and one more attempt once it has started. */
export function jobRow(row: JobColumns): JobRow {
  const isLive = row.live_run_id !== null;
  return {
    id: row.id,
    queue: row.queue,
    state: stateOf(row.state, isLive),
    priority: row.priority,
    runAt: row.run_at,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
    attempts: row.attempts + (isLive && row.live_run_state !== "reserved" ? 1 : 0),
    maxAttempts: row.max_attempts,
    losses: row.losses,
    maxLosses: row.max_losses,
    runCount: row.run_count + (isLive ? 1 : 0),
    currentRunId: row.live_run_id,
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
