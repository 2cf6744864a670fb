import type { Instant } from "../domain/time.ts";
import { isProvedDead } from "./death-proof.ts";
import { type ProcessLife, type RunEvidence, type RunFacts, trustworthyPart } from "./evidence.ts";
import type { Outcome } from "./retry-contract.ts";
import { emptyRunMemory, judgeRun, type RunMemory } from "./run-policy.ts";
import { deadTicksNeeded, type RunThresholds } from "./run-thresholds.ts";
import type { VantageView } from "./vantage.ts";
import { type Dead, explain, mayStillLive, type NeverStarted, type OrphanedAdopt, type RunVerdict } from "./verdict.ts";

export interface AdoptionSettings {
  readonly thresholds: RunThresholds;
  /** False: runs that still live are stopped and queued again instead of adopted. */
  readonly adoption: boolean;
}

/** A worker of this start carries on: with the command, or with what follows from its exit. */
export type Adopt = { readonly kind: "adopt" } & (
  | { readonly reason: "exit_on_record"; readonly exitCode: number }
  | { readonly reason: "process_alive"; readonly pid: number }
  | { readonly reason: "life_pipe_held" }
);

/** The run ends, and the retry contract decides about its job. Reasons are stored. */
export interface Requeue {
  readonly kind: "requeue";
  readonly reason: "nogo" | "wrapper_dead" | "supervisor_dead" | "adoption_off";
  /** The verdict by the rules of {@link judgeRun}. */
  readonly verdict: Dead | NeverStarted | OrphanedAdopt;
  /** Something of the run may still live and must be proved stopped before its job is released. */
  readonly mayStillLive: boolean;
}

/** The process looks dead, but not in enough looks yet: look again at `recheckAt`. */
export interface LookAgain {
  readonly kind: "look_again";
  readonly reason: "dead_pid";
  readonly pid: number;
  readonly streak: number;
  readonly of: number;
  readonly recheckAt: Instant;
}

/** Left to the job-reaper, which judges it like any other run. */
export type Leave = { readonly kind: "leave" } & (
  | { readonly reason: "handler" | "foreground" | "not_started" }
  | { readonly reason: "supervisor_not_dead"; readonly supervisor: ProcessLife }
  | { readonly reason: "being_recorded"; readonly pid: number }
  | { readonly reason: "no_proof" | "limit_reached"; readonly verdict: RunVerdict }
);

export type AdoptionVerdict = Adopt | Requeue | LookAgain | Leave;

/** A start has heard no session yet, so silence proves nothing. */
const hearsNothing: VantageView = {
  mode: "frozen",
  // Stryker disable next-line BooleanLiteral: in a frozen scope no silence counts, earned or not
  silence: () => ({ sinceHeardMs: 0, silentMs: 0, deafMs: 0, earned: false, earnedInMs: 0 }),
};

/**
 * Judges, at a start, one run of this host that has not ended. Decides only of a command whose supervisor is proved dead, by the rules of
 * {@link judgeRun}. Pure; each call counts as one look, so keep the memory.
 */
export function judgeAdoption(
  run: RunFacts,
  evidence: RunEvidence,
  memory: RunMemory | undefined,
  settings: AdoptionSettings,
  now: Instant,
): { readonly verdict: AdoptionVerdict; readonly memory: RunMemory } {
  const left = leftToOthers(run, evidence, settings, now);
  if (left !== undefined) return { verdict: left, memory: memory ?? emptyRunMemory };
  const judged = judgeRun(
    settings.adoption ? run : withoutLimits(run),
    { ...evidence, supervisor: "dead" },
    memory,
    settings.thresholds,
    hearsNothing,
    now,
  );
  return { verdict: adoptionVerdictOf(judged.verdict, evidence, settings), memory: judged.memory };
}

function leftToOthers(run: RunFacts, evidence: RunEvidence, { thresholds }: AdoptionSettings, now: Instant): Leave | undefined {
  if (run.kind === "handler") return { kind: "leave", reason: "handler" };
  if (run.foreground === true) return { kind: "leave", reason: "foreground" };
  if (run.state === "reserved") return { kind: "leave", reason: "not_started" };
  const { supervisor, hostConflict } = trustworthyPart(evidence);
  const { heardAt } = run.session;
  if (isProvedDead({ life: supervisor, heardAt, hostConflict }, thresholds, now)) return undefined;
  return { kind: "leave", reason: "supervisor_not_dead", supervisor };
}

/** Without adoption every run is queued again, whatever its age. */
const withoutLimits = (run: RunFacts): RunFacts => ({
  ...run,
  limits: { ...run.limits, timeoutMs: undefined, heartbeatTimeoutMs: undefined, maxRunningMs: Number.POSITIVE_INFINITY },
});

function adoptionVerdictOf(verdict: RunVerdict, { process }: RunEvidence, { adoption, thresholds }: AdoptionSettings): AdoptionVerdict {
  switch (verdict.kind) {
    case "record_exit":
      return { kind: "adopt", reason: "exit_on_record", exitCode: verdict.status };
    case "exited_known":
    case "take_over":
      return { kind: "adopt", reason: "exit_on_record", exitCode: verdict.exitCode };
    case "orphaned_adopt":
      if (!adoption) return { kind: "requeue", reason: "adoption_off", verdict, mayStillLive: true };
      return process?.life === "alive"
        ? { kind: "adopt", reason: "process_alive", pid: process.pid }
        : { kind: "adopt", reason: "life_pipe_held" };
    case "never_started":
      return { kind: "requeue", reason: verdict.reason === "nogo" ? "nogo" : "wrapper_dead", verdict, mayStillLive: mayStillLive(verdict) };
    case "dead":
      return {
        kind: "requeue",
        reason: adoption ? "supervisor_dead" : "adoption_off",
        verdict,
        mayStillLive: mayStillLive(verdict),
      };
    case "suspect": {
      const { pid, streak, of, recheckAt } = verdict;
      if (streak >= deadTicksNeeded(thresholds)) return { kind: "leave", reason: "being_recorded", pid };
      return { kind: "look_again", reason: "dead_pid", pid, streak, of, recheckAt };
    }
    case "leave_alone":
    case "defer":
      return { kind: "leave", reason: "no_proof", verdict };
    default:
      return { kind: "leave", reason: "limit_reached", verdict };
  }
}

/**
 * How a requeued run ended. Without adoption, a run that could have been adopted spends nothing. One that died with its daemon does so only
 * a few times in a row, because it may be the cause.
 */
export function outcomeOfRequeue(requeue: Requeue): Outcome {
  const { verdict } = requeue;
  const reason = explainAdoption(requeue);
  switch (verdict.kind) {
    case "orphaned_adopt":
      return { kind: "released", reason };
    case "never_started":
      return { kind: "never_started", reason, bySessionDeath: verdict.bySessionDeath };
    case "dead":
      return requeue.reason === "adoption_off" ? { kind: "released", reason, bySessionDeath: true } : { kind: "lost", reason };
  }
}

/** The verdict for people, as one part of a sentence with its numbers. */
export function explainAdoption(verdict: AdoptionVerdict): string {
  switch (verdict.kind) {
    case "adopt":
      return `${explainAdopt(verdict)}, its supervisor is dead`;
    case "requeue":
      return explainRequeue(verdict);
    case "look_again":
      return `pid ${verdict.pid} looks dead (${verdict.streak} of ${verdict.of} looks)`;
    case "leave":
      return explainLeave(verdict);
  }
}

function explainAdopt(verdict: Adopt): string {
  switch (verdict.reason) {
    case "exit_on_record":
      return `its exit (${verdict.exitCode}) is on record`;
    case "process_alive":
      return `pid ${verdict.pid} is alive`;
    case "life_pipe_held":
      return "its life pipe is held";
  }
}

function explainRequeue({ verdict, reason }: Requeue): string {
  switch (verdict.kind) {
    case "orphaned_adopt":
      return "its supervisor died, and adoption is off";
    case "never_started":
      return explain(verdict);
    case "dead":
      return `its supervisor died${reason === "adoption_off" ? ", and adoption is off" : ""}: ${explain(verdict)}`;
  }
}

function explainLeave(verdict: Leave): string {
  switch (verdict.reason) {
    case "handler":
      return "a handler ends with its host";
    case "foreground":
      return "a foreground command goes on by itself";
    case "not_started":
      return "it has not started";
    case "supervisor_not_dead":
      return verdict.supervisor === "alive" ? "its supervisor is alive" : "its supervisor is not proved dead";
    case "being_recorded":
      return `pid ${verdict.pid} is dead, and its wrapper is writing down how it ended`;
    case "no_proof":
    case "limit_reached":
      return explain(verdict.verdict);
  }
}
