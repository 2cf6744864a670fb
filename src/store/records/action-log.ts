import type { Kysely } from "kysely";
import type { Instant } from "../../domain/time.ts";
import type { Database } from "../engine/tables.ts";
import type { NewAction } from "../port/records.ts";

/** Appends to the action log, in the caller's transaction. */
export async function appendActions(tx: Kysely<Database>, at: Instant, actions: readonly NewAction[]): Promise<void> {
  if (actions.length === 0) return;
  await tx
    .insertInto("action_logs")
    .values(
      actions.map((action) => ({
        at,
        action: action.action,
        actor: action.actor,
        reason: action.reason ?? null,
        message: action.message ?? null,
        evidence: action.evidence ?? null,
        job_id: action.jobId ?? null,
        run_id: action.runId ?? null,
        item_id: action.itemId ?? null,
        worker_id: action.workerId ?? null,
        lease: action.lease ?? null,
        correlation_id: action.correlationId ?? null,
      })),
    )
    .execute();
}
