import { messageOf } from "../../domain/errors.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { EndReport } from "../worker-backend.ts";

/**
 * What a handler returned after its run was lost, or was given up because it did not stop. It is reported all the same, once: the fence
 * refuses it with an answer that says who has the run, and keeps it on record as a late result. Where nobody else has the run, the work
 * counts, as it would have a moment earlier. What it threw is no result: it was asked to stop.
 */
export function offerLateResult(report: EndReport, offer: (report: EndReport) => Promise<void>, emit: Emit): void {
  if (report.ending.kind !== "returned") return;
  offer(report).catch((thrown: unknown) => {
    // Nothing is owed for it: whoever has the run ends it.
    emit("store.degraded", { code: "late_result_failed", message: `run ${report.runId}: ${messageOf(thrown)}` });
  });
}
