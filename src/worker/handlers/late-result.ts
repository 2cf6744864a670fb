import { messageOf } from "../../domain/errors.ts";
import { tellBatch } from "../../settling/tell-ends.ts";
import type { SettleAnswer, Settlement } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { EndedRun, SettleDecision } from "./run-end.ts";

export interface LateResultOptions {
  readonly settle: (settlements: readonly Settlement[]) => Promise<readonly SettleAnswer[]>;
  readonly decide: SettleDecision;
  readonly emit: Emit;
}

/**
 * What a handler returned after its run was lost, or was given up because it did not stop. It goes to the store all the same, once: the fence
 * refuses it with an answer that says who has the run, and keeps it on record as a late result. Where nobody else has the run, the work
 * counts, as it would have a moment earlier. What it threw is no result: it was asked to stop.
 */
export function offerLateResult(ended: EndedRun, options: LateResultOptions): void {
  if (ended.end.kind !== "returned") return;
  const { runId, jobId, queue } = ended;
  offer(ended, options).catch((thrown: unknown) => {
    // Nothing is owed for it: whoever has the run settles it.
    options.emit("store.degraded", {
      code: "late_result_failed",
      message: `run ${runId} of job ${jobId} (${queue}): ${messageOf(thrown)}`,
    });
  });
}

async function offer(ended: EndedRun, { settle, decide, emit }: LateResultOptions): Promise<void> {
  const settlement = await decide(ended);
  if (settlement === undefined) return;
  const [answer] = await settle([settlement]);
  if (answer !== undefined) tellBatch(emit, { settlements: [settlement], queues: [ended.queue] }, [answer]);
}
