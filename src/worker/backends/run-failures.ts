import { inSeconds } from "../../domain/durations.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { Outcome } from "../../liveness/retry-contract.ts";
import type { RunFailure } from "../../settling/run-ender.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { NotStartedCause, RunEnding } from "../worker-backend.ts";

/** Endings without an exit code or an output: the retry contract says what follows. */
export type FailedEnding = Exclude<RunEnding, { readonly kind: "returned" } | { readonly kind: "exited" }>;
export type DescribedFailure = Pick<RunFailure, "outcome" | "reason">;

/** How a run that ended so failed, as the retry contract is asked. Pure. */
export function failureOf(ending: FailedEnding, run: Pick<LiveRun, "kind" | "limits">): DescribedFailure {
  switch (ending.kind) {
    case "threw":
      return ending.permanent
        ? { outcome: { kind: "failed", reason: ending.message, disposition: "fail" }, reason: "permanent_error" }
        : { outcome: { kind: "failed", reason: ending.message }, reason: "handler_error" };
    case "bad_output":
      return { outcome: { kind: "bad_output", reason: `bad_output: ${ending.why}` }, reason: "bad_output" };
    case "released":
      return { outcome: { kind: "released", reason: ending.why }, reason: ending.byPerson === true ? "interrupted" : "released" };
    case "timed_out":
      return { outcome: { kind: "timed_out", reason: timeoutText(ending.afterMs, run) }, reason: "timeout" };
    case "not_started":
      return notStarted[ending.cause](ending.why);
  }
}

/** What is not a run's own fault costs nothing. Only the death of a claimer counts, when it happens many times in a row. */
const notStarted: Readonly<Record<NotStartedCause, (why: string) => DescribedFailure>> = {
  failed: (reason) => ({ outcome: { kind: "failed", reason }, reason: "start_failed" }),
  machine: (reason) => ({ outcome: neverStarted(reason, false), reason: "start_prevented" }),
  unavailable: (reason) => ({ outcome: neverStarted(reason, false), reason: "start_failed" }),
  run_dir_exists: (reason) => ({ outcome: neverStarted(reason, false), reason: "run_dir_exists" }),
  no_go: (reason) => ({ outcome: neverStarted(reason, true), reason: "nogo" }),
  abandoned: (reason) => ({ outcome: { kind: "cancelled", reason }, reason: "never_began" }),
};

const neverStarted = (reason: string, bySessionDeath: boolean): Outcome => ({ kind: "never_started", reason, bySessionDeath });

function timeoutText(afterMs: DurationMs, { kind, limits: { timeoutMs } }: Pick<LiveRun, "kind" | "limits">): string {
  return kind === "command" && timeoutMs !== undefined
    ? `running for ${inSeconds(afterMs)}, timeout ${inSeconds(timeoutMs)}`
    : `ran into its timeout after ${inSeconds(afterMs)}`;
}
