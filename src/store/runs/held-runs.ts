import { WakefulError } from "../../domain/errors.ts";
import type { OwnerEpoch, RunId, WorkerId } from "../../domain/ids.ts";
import type { RunOutcome, RunState } from "../../domain/lifecycles/run.ts";
import type { FencedAnswer, StartRun } from "../port/runs.ts";
import { lostTo, type SettleFacts, takenOver } from "./settle-plan.ts";

/** A run that a session named as held and does not hold; all null but the id: there is no such run. */
export interface NotHeldRow {
  readonly runId: RunId;
  readonly state: RunState | null;
  readonly ownerEpoch: OwnerEpoch | null;
  readonly outcome: RunOutcome | null;
  readonly reason: string | null;
  readonly workerId: WorkerId | null;
}

/** What a worker is told about a run that it must stop. */
export function whyNotHeld(row: NotHeldRow): string {
  if (row.state === null) return "there is no such run";
  if (row.state === "ended") return endedAs(row);
  return row.workerId === null
    ? "nobody supervises the run now"
    : `worker ${row.workerId} supervises the run now (owner epoch ${row.ownerEpoch ?? "unknown"})`;
}

export function endedAs(run: Pick<NotHeldRow, "outcome" | "reason">): string {
  return `the run has ended as ${run.outcome ?? "unknown"} (${run.reason ?? "no reason"})`;
}

/** Why a guarded start changed nothing. */
export function startAnswer(run: StartRun, facts: SettleFacts | undefined): FencedAnswer {
  if (facts === undefined) return { kind: "gone" };
  if (facts.state === "ended") return lostTo(facts, endedAs(facts));
  if (facts.ownerEpoch !== run.ownerEpoch) return lostTo(facts, takenOver(facts.ownerEpoch, run.ownerEpoch));
  return facts.state === "started" ? { kind: "already" } : lostTo(facts, `the run is ${facts.state}`);
}

export function noSuchSession(workerId: WorkerId): WakefulError {
  return new WakefulError("not_found", `Session ${workerId} does not exist or was pruned: register again.`, { details: { workerId } });
}
