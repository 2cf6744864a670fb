import type { RunOutcome } from "../domain/lifecycles/run.ts";
import { recordedOutcome } from "../liveness/retry-contract.ts";
import type { Cancelled, ItemStep, LostEnd, NotSettled, SettleAnswer, Settlement } from "../store/port/runs.ts";
import type { Emit } from "../telemetry/events.ts";

/** What became of a settlement: its run ended by it, or why not. */
export type Ended =
  | {
      readonly kind: "ended";
      readonly outcome: RunOutcome;
      /** Stable code. */
      readonly reason: string;
      /** The reason for people. */
      readonly message: string;
      readonly jobState: string;
    }
  | Exclude<SettleAnswer, { readonly kind: "ok" | "failed" }>;

/** Emits what the store answered to one settlement. A lost flip emits nothing but, for a supervisor, its late result. */
export function tellSettled(
  emit: Emit,
  {
    settlement,
    queue,
    answer,
    supervises = false,
  }: {
    readonly settlement: Settlement;
    readonly queue: string;
    readonly answer: SettleAnswer | undefined;
    readonly supervises?: boolean | undefined;
  },
): Ended | NotSettled {
  const { runId, jobId, outcome: tried, reason, actor = "worker" } = settlement;
  if (answer === undefined) return { kind: "gone" };
  if (answer.kind === "lost" && supervises)
    emit("run.late_result", { runId, jobId, queue, tried: recordedOutcome[tried], why: answer.why });
  if (answer.kind !== "ok") return answer;
  const { outcome, jobState, replaced } = answer;
  if (replaced !== undefined) emit("run.text_replaced", { runId, jobId, queue, message: replaced });
  const message = settlement.outcome === "succeeded" ? (outcome === "succeeded" ? reason : (replaced ?? reason)) : settlement.message;
  const told = { outcome, reason, message, jobState };
  emit("run.ended", { runId, jobId, queue, ...told, actor });
  tellItemStep(emit, answer.item, told.message);
  return { kind: "ended", ...told };
}

/** Emits how an item went on. Passing the last stage is an advance like any other, followed by the end. */
export function tellItemStep(emit: Emit, step: ItemStep | undefined, reason: string): void {
  if (step === undefined) return;
  const { itemId, kind } = step;
  if (kind === "advanced" || kind === "finished") {
    emit("item.advanced", { itemId, from: step.from, to: kind === "advanced" ? step.to : null });
  }
  if (kind !== "advanced") emit("item.ended", { itemId, state: kind === "finished" ? "done" : kind, reason });
}

/** Emits what a person's cancel ended. */
export function tellCancelled(
  emit: Emit,
  { run, item }: Cancelled,
  { actor, reason }: { readonly actor: string; readonly reason: string },
): void {
  const told = { outcome: "cancelled", reason: "cancelled", message: `cancelled: ${reason}`, jobState: "cancelled", actor } as const;
  if (run !== undefined) emit("run.ended", { ...run, ...told });
  tellItemStep(emit, item, reason);
}

/** Emits the end of a run that a page ended. */
export function tellLostEnd(emit: Emit, { runId, jobId, queue, outcome, reason, message, jobState }: LostEnd, actor: string): void {
  emit("run.ended", { runId, jobId, queue, outcome, reason, message, jobState, actor });
}

/**
 * Emits what the store answered to a worker's settlements. Plain successes share one event: one each would cost as much as settling them.
 */
export function tellBatch(
  emit: Emit,
  { settlements, queues }: { readonly settlements: readonly Settlement[]; readonly queues: readonly string[] },
  answers: readonly SettleAnswer[],
): void {
  let plain = 0;
  let at = -1;
  for (const answer of answers) {
    at++;
    const settlement = settlements[at];
    if (settlement === undefined) continue;
    if (answer.kind === "ok" && settlement.outcome === "succeeded" && settlement.actor === undefined && answer.replaced === undefined) {
      plain++;
      tellItemStep(emit, answer.item, settlement.reason);
    } else tellSettled(emit, { settlement, queue: queues[at] ?? "", answer, supervises: true });
  }
  if (plain > 0) emit("runs.settled", { count: plain });
}
