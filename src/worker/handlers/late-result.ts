import { messageOf } from "../../domain/errors.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { EndReport } from "../worker-backend.ts";

/**
 * Reports, once, what a handler returned after its run was lost or given up. The fence refuses it and keeps it as a late result; if nobody
 * else has the run, it counts. What it threw is no result.
 */
export function offerLateResult(report: EndReport, offer: (report: EndReport) => Promise<void>, emit: Emit): void {
  if (report.ending.kind !== "returned") return;
  offer(report).catch((thrown: unknown) => {
    // Nothing depends on it: whoever has the run ends it.
    emit("store.degraded", { code: "late_result_failed", message: `run ${report.runId}: ${messageOf(thrown)}` });
  });
}
