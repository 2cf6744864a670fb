import type { Instant } from "../domain/time.ts";
import { diedWithEarlierBoot } from "./death-proof.ts";
import { type ProcessLife, type RunEvidence, type RunFacts, trustworthyPart } from "./evidence.ts";
import type { Outcome } from "./retry-contract.ts";
import { emptyRunMemory, judgeRun, type RunMemory } from "./run-policy.ts";
import { deadTicksNeeded, type RunThresholds } from "./run-thresholds.ts";
import type { VantageView } from "./vantage.ts";
import { type Dead, explain, mayStillLive, type NeverStarted, type OrphanedAdopt, type RunVerdict } from "./verdict.ts";

export interface AdoptionSettings {
  readonly thresholds: RunThresholds;
  /** Whether what lives on is gone on with. False: it is stopped and queued again. */
  readonly adoption: boolean;
}

/** A worker of this start goes on with the run: with its command, or with what follows from its exit. */
export type Adopt = { readonly kind: "adopt" } & (
  | { readonly reason: "exit_on_record"; readonly exitCode: number }
  | { readonly reason: "process_alive"; readonly pid: number }
  | { readonly reason: "life_pipe_held" }
);

/** The run ends here, and its job gets what the retry contract says. Reasons are stored. */
export interface Requeue {
  readonly kind: "requeue";
  readonly reason: "nogo" | "wrapper_dead" | "supervisor_dead" | "adoption_off";
  /** What the rules of every other look say of the run. */
  readonly verdict: Dead | NeverStarted | OrphanedAdopt;
  /** Something of it may still live, so that it must be proved stopped before a release. */
  readonly mayStillLive: boolean;
}

/** Its process looks dead, not often enough yet: to be looked at again at `recheckAt`. */
export interface LookAgain {
  readonly kind: "look_again";
  readonly reason: "dead_pid";
  readonly pid: number;
  readonly streak: number;
  readonly of: number;
  readonly recheckAt: Instant;
}

/** Not a start's to decide: the job-reaper judges it, like any other run. */
export type Leave = { readonly kind: "leave" } & (
  | { readonly reason: "handler" | "foreground" | "not_started" }
  | { readonly reason: "supervisor_not_dead"; readonly supervisor: ProcessLife }
  | { readonly reason: "being_recorded"; readonly pid: number }
  | { readonly reason: "no_proof" | "limit_reached"; readonly verdict: RunVerdict }
);

export type AdoptionVerdict = Adopt | Requeue | LookAgain | Leave;

/** A start has heard nobody yet, so no silence counts. */
const hearsNothing: VantageView = {
  mode: "frozen",
  silence: () => ({ sinceHeardMs: 0, silentMs: 0, deafMs: 0, earned: false, earnedInMs: 0 }),
};

/**
 * Judges at a start one run of this host that has not ended: only a command whose supervisor is proved dead, and it by the rules of
 * {@link judgeRun}, so that a start and the job-reaper never disagree. Pure; like there, each call is one look, and the memory is kept.
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
  if (supervisor === "dead" || diedWithEarlierBoot({ life: supervisor, heardAt, hostConflict }, thresholds, now)) return undefined;
  return { kind: "leave", reason: "supervisor_not_dead", supervisor };
}

/** Without adoption every run is queued again, however long it has taken. */
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
 * How a run ended that a start queues again. Without adoption what could have been gone on with has spent nothing; a command that died
 * together with its daemon may have been the cause, so that this is free only a few times in a row.
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

/** The verdict in one sentence part for people, with the numbers that led to it. */
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
