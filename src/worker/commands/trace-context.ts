import { createHash } from "node:crypto";
import type { ItemId, JobId, RunId } from "../../domain/ids.ts";

/**
 * The W3C trace context of a command (https://www.w3.org/TR/trace-context/): one trace per item or plain job, one span per run. Derived
 * from the ids, so every caller gets the same.
 */
export function traceparentOf(run: { readonly itemId: ItemId | null; readonly jobId: JobId; readonly runId: RunId }): string {
  const subject = run.itemId === null ? `job ${run.jobId}` : `item ${run.itemId}`;
  const traceId = createHash("sha256").update(`wakeful ${subject}`).digest("hex").slice(0, 32);
  return `00-${traceId}-${run.runId.toString(16).padStart(16, "0")}-01`;
}
