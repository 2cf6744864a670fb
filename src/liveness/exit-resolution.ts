import { addMs, ageMs, type DurationMs, type Instant, minutes, seconds } from "../domain/time.ts";
import { type EndedBy, type ExitCodeLists, explainExitCode, meaningOfExit } from "./exit-policy.ts";
import type { Outcome } from "./retry-contract.ts";

/**
 * Where the run's item stands, relative to its job's stage. `past` and `unknown_stage` are definite; `lookup_failed` is not, and never
 * means "already advanced".
 */
export type StagePosition = "pending" | "past" | "unknown_stage" | "no_item" | "lookup_failed";

/** What is known of the stage's gate. `no_branch`: the gate needs a branch and the item has none. */
export type GateReading =
  | { readonly kind: "not_read" }
  | { readonly kind: "none" }
  | { readonly kind: "green" }
  | { readonly kind: "red"; readonly reason: string }
  | { readonly kind: "no_branch" }
  /** `machine`: the host lacks what the reading needs, which is not the gate's fault and spends no patience. */
  | { readonly kind: "unreadable"; readonly error: string; readonly machine?: true | undefined };

export interface ExitFacts {
  readonly exitCode: number;
  readonly endedBy?: EndedBy;
  readonly policy: ExitCodeLists;
  /** The outcome for which we signalled the run. It stays the reason, instead of "exit 143". */
  readonly stoppedFor?: Outcome | undefined;
  readonly position: StagePosition;
  readonly gate: GateReading;
  readonly gatePendingAt?: Instant | undefined;
  /** How long an unreadable gate is read again. 0: an unreadable gate is red at once. */
  readonly gatePatienceMs: DurationMs;
  /** Readings that have failed so far, for the backoff. */
  readonly failedReadings?: number | undefined;
  readonly now: Instant;
}

/** What follows from an exit on record. */
export type ExitResolution =
  /** Close the job as done; with `advance` also move the item on, in the same transaction. */
  | {
      readonly kind: "done";
      readonly advance: boolean;
      readonly reason: "exit0_gate_green" | "exit0_no_gate" | "exit0_already_advanced" | "exit0_no_item";
    }
  /** Anything but a clean success: the retry contract decides. */
  | { readonly kind: "retry_contract"; readonly outcome: Outcome }
  /** Read the gate outside the tick, then resolve again. */
  | { readonly kind: "read_gate" }
  /** Store `gatePendingAt`, read again at `readAgainAt`. */
  | {
      readonly kind: "wait";
      readonly reason: "gate_unreadable" | "lookup_failed";
      readonly gatePendingAt: Instant;
      readonly readAgainAt: Instant;
    };

const firstReadAgainMs: DurationMs = seconds(1);
const longestReadAgainMs: DurationMs = minutes(1);
/** How soon a gate is read again that the machine kept from being read: that ends without notice. */
const machineReadAgainMs: DurationMs = seconds(2);

/** Resolves an exit on record. Only exit code 0 can end as done, and only a definite answer moves anything. */
export function resolveExit(facts: ExitFacts): ExitResolution {
  const { exitCode, stoppedFor } = facts;
  // A command that was told to stop and exits 0 has stopped well, but may not have finished its work.
  if (stoppedFor !== undefined) return { kind: "retry_contract", outcome: stoppedFor };
  if (exitCode !== 0) return { kind: "retry_contract", outcome: outcomeOfNonZero(facts) };
  switch (facts.position) {
    case "no_item":
      return { kind: "done", advance: false, reason: "exit0_no_item" };
    case "past":
    case "unknown_stage":
      return { kind: "done", advance: false, reason: "exit0_already_advanced" };
    case "lookup_failed":
      return again(facts, { reason: "lookup_failed", text: "exit 0, but the item's stage could not be looked up" });
    case "pending":
      return resolveByGate(facts);
  }
}

function outcomeOfNonZero({ exitCode, policy, endedBy }: ExitFacts): Outcome {
  const meaning = meaningOfExit(exitCode, policy, endedBy);
  const reason = explainExitCode(exitCode, endedBy);
  switch (meaning.kind) {
    case "signal":
      return { kind: "lost", reason: `killed: ${reason}` };
    case "fail":
    case "hold":
      return { kind: "failed", reason, disposition: meaning.kind };
    default:
      return { kind: "failed", reason };
  }
}

function resolveByGate(facts: ExitFacts): ExitResolution {
  const { gate } = facts;
  switch (gate.kind) {
    case "not_read":
      return { kind: "read_gate" };
    case "none":
      return { kind: "done", advance: true, reason: "exit0_no_gate" };
    case "green":
      return { kind: "done", advance: true, reason: "exit0_gate_green" };
    case "red":
      return { kind: "retry_contract", outcome: { kind: "gate_red", reason: `exit 0, but the gate is red: ${gate.reason}` } };
    case "no_branch":
      return { kind: "retry_contract", outcome: { kind: "gate_red", reason: "exit 0, but the gate is red: the item has no branch" } };
    case "unreadable":
      if (gate.machine === true) return untilTheMachineCan(facts);
      return again(facts, { reason: "gate_unreadable", text: `exit 0, but the gate could not be read: ${gate.error}` });
  }
}

/** Patience begins again with the first reading that the machine allows. */
function untilTheMachineCan({ now }: ExitFacts): ExitResolution {
  return { kind: "wait", reason: "gate_unreadable", gatePendingAt: now, readAgainAt: addMs(now, machineReadAgainMs) };
}

function again(facts: ExitFacts, why: { readonly reason: "gate_unreadable" | "lookup_failed"; readonly text: string }): ExitResolution {
  const { now, gatePatienceMs } = facts;
  const gatePendingAt = facts.gatePendingAt ?? now;
  if (ageMs(gatePendingAt, now) >= gatePatienceMs) {
    return { kind: "retry_contract", outcome: { kind: "gate_unreadable", reason: why.text } };
  }
  const backoffMs = Math.min(longestReadAgainMs, firstReadAgainMs * 2 ** Math.min(16, facts.failedReadings ?? 0));
  const patienceOverAt = addMs(gatePendingAt, gatePatienceMs);
  const readAgainAt = Math.min(addMs(now, backoffMs), patienceOverAt) as Instant;
  return { kind: "wait", reason: why.reason, gatePendingAt, readAgainAt };
}
