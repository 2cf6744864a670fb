import { inSeconds } from "../domain/durations.ts";
import { type DurationMs, type Instant } from "../domain/time.ts";
import type { LifePipe } from "./evidence.ts";

/**
 * No judgement is due before `nextCheckAt`. `doubted`: a limit has passed by the clock, but the watcher may have been deaf. `of_another_host`:
 * its files are there, and only that host judges it until it is lost.
 */
export interface LeaveAlone {
  readonly kind: "leave_alone";
  readonly reason: "no_limit_reached" | "doubted" | "of_another_host";
  readonly nextCheckAt: Instant;
}

export interface Suspect {
  readonly kind: "suspect";
  readonly reason: "dead_pid";
  readonly pid: number;
  readonly streak: number;
  readonly of: number;
  readonly recheckAt: Instant;
}

export interface RecordExit {
  readonly kind: "record_exit";
  readonly reason: "exit_on_disk";
  readonly status: number;
}

/** The exit is known; its finaliser or its gate still has time. */
export interface Defer {
  readonly kind: "defer";
  readonly reason: "finalising" | "gate_pending";
  readonly exitCode: number;
  readonly ageMs: DurationMs;
  readonly limitMs: DurationMs;
  readonly recheckAt: Instant;
}

/** The run executed nothing and spends nothing. `bySessionDeath` tells the claimer's death from a lost claim. */
export interface NeverStarted {
  readonly kind: "never_started";
  readonly reason:
    | "nogo"
    | "not_held"
    | "not_named"
    | "session_dead"
    | "session_silent"
    | "dead_pid"
    | "other_boot"
    | "wrapper_dead"
    | "age_ceiling";
  readonly bySessionDeath: boolean;
  /** Since the reservation. */
  readonly ageMs: DurationMs;
  /** The limit that was reached, where the reason has one. */
  readonly limitMs?: DurationMs;
  readonly pid?: number;
}

export type Dead = { readonly kind: "dead"; readonly outcome: "unknown" } & (
  | { readonly reason: "dead_pid"; readonly pid: number; readonly streak: number; readonly of: number; readonly lifePipe: LifePipe }
  | { readonly reason: "other_boot"; readonly sinceHeardMs: DurationMs; readonly limitMs: DurationMs }
  | { readonly reason: "life_pipe_released" }
  | {
      readonly reason: "session_silent" | "host_silent";
      readonly silentMs: DurationMs;
      readonly deafMs: DurationMs;
      readonly limitMs: DurationMs;
    }
);

/** A handler's run that has started, of which its worker knows nothing. */
export interface Forgotten {
  readonly kind: "forgotten";
  readonly reason: "not_named";
  /** Between the first renewal that did not name it and the last. */
  readonly unnamedMs: DurationMs;
  readonly limitMs: DurationMs;
}

/** The finaliser is dead and has no steps to resume: exit code and gate decide. */
export interface ExitedKnown {
  readonly kind: "exited_known";
  readonly reason: "finaliser_dead" | "finalize_grace_over" | "gate_due" | "gate_patience_over";
  readonly exitCode: number;
  readonly ageMs: DurationMs;
  readonly limitMs: DurationMs;
}

/** The finaliser is dead; another resumes its steps under the next owner epoch. */
export interface TakeOver {
  readonly kind: "take_over";
  readonly reason: "finaliser_dead" | "finalize_grace_over";
  readonly exitCode: number;
  readonly ageMs: DurationMs;
  readonly limitMs: DurationMs;
}

export interface OrphanedAdopt {
  readonly kind: "orphaned_adopt";
  readonly reason: "supervisor_dead";
  readonly waitedMs: DurationMs;
  readonly limitMs: DurationMs;
  readonly recheckAt: Instant;
}

export interface StopThenDead {
  readonly kind: "stop_then_dead";
  readonly reason: "not_adopted";
  readonly waitedMs: DurationMs;
  readonly limitMs: DurationMs;
}

export interface Hung {
  readonly kind: "hung";
  readonly reason: "progress_stale" | "progress_absent";
  /** After vantage: time in which progress could not be heard is left out. */
  readonly silentMs: DurationMs;
  readonly deafMs: DurationMs;
  readonly limitMs: DurationMs;
}

export interface TimedOut {
  readonly kind: "timed_out";
  readonly reason: "timeout";
  readonly ageMs: DurationMs;
  readonly limitMs: DurationMs;
}

/** The ceiling is reached. Only with `exitCode` is the outcome known. */
export interface OverAge {
  readonly kind: "over_age";
  readonly reason: "age_ceiling";
  readonly ageMs: DurationMs;
  readonly ceilingMs: DurationMs;
  readonly exitCode?: number | undefined;
}

/** What was concluded about a run, with the numbers that led to it. `kind` and `reason` are stable: stored, shown and matched on. */
export type RunVerdict =
  | LeaveAlone
  | Suspect
  | RecordExit
  | Defer
  | NeverStarted
  | Dead
  | Forgotten
  | ExitedKnown
  | TakeOver
  | OrphanedAdopt
  | StopThenDead
  | Hung
  | TimedOut
  | OverAge;

/** When to judge again after a verdict that changes nothing; `undefined` for verdicts that settle or act. */
export function checkAgainAt(verdict: RunVerdict): Instant | undefined {
  switch (verdict.kind) {
    case "leave_alone":
      return verdict.nextCheckAt;
    case "suspect":
    case "defer":
    case "orphaned_adopt":
      return verdict.recheckAt;
    // Stryker disable next-line ConditionalExpression: past the last case the answer is undefined as well
    default:
      return undefined;
  }
}

/** Whether something of the run may still live when the verdict ends it, and must be proved stopped before a release. */
export function mayStillLive(verdict: RunVerdict): boolean {
  switch (verdict.kind) {
    case "over_age":
      return verdict.exitCode === undefined;
    case "stop_then_dead":
    case "hung":
    case "timed_out":
      return true;
    case "dead":
      return verdict.reason === "dead_pid"
        ? verdict.lifePipe === "held"
        : verdict.reason === "session_silent" || verdict.reason === "host_silent";
    case "never_started":
      return verdict.reason !== "nogo";
    default:
      return false;
  }
}

const leftAlone: Readonly<Record<LeaveAlone["reason"], string>> = {
  doubted: "a limit has passed, but the watcher may not have heard the signs of life; looked at again",
  of_another_host: "its files are on another host, which looks after it",
  no_limit_reached: "no sign of death, no limit reached",
};

const deaf = (ms: DurationMs): string => (ms > 0 ? `, not counting ${inSeconds(ms)} in which it could not be heard` : "");

/** The verdict for people, as one part of a sentence: the numbers that led to it, no run id, no advice. */
export function explain(verdict: RunVerdict): string {
  switch (verdict.kind) {
    case "leave_alone":
      return leftAlone[verdict.reason];
    case "suspect":
      return `pid ${verdict.pid} looks dead (${verdict.streak} of ${verdict.of} looks)`;
    case "record_exit":
      return `the exit record on disk says status ${verdict.status}`;
    case "defer":
      return verdict.reason === "finalising"
        ? `exit code ${verdict.exitCode} recorded ${inSeconds(verdict.ageMs)} ago, being finalised (grace ${inSeconds(verdict.limitMs)})`
        : `exit code ${verdict.exitCode}, its gate has been unreadable for ${inSeconds(verdict.ageMs)} (patience ${inSeconds(verdict.limitMs)})`;
    case "never_started":
      return `never started: ${explainNeverStarted(verdict)}`;
    case "dead":
      return explainDead(verdict);
    case "forgotten":
      return (
        `its worker has renewed for ${inSeconds(verdict.unnamedMs)} without naming it (limit ${inSeconds(verdict.limitMs)}): ` +
        "the store forgot its end, or its claim never arrived"
      );
    case "exited_known":
    case "take_over":
      return `exit code ${verdict.exitCode}, ${explainFinaliser(verdict)}`;
    case "orphaned_adopt":
      return `alive without a supervisor, waiting to be adopted for ${inSeconds(verdict.waitedMs)} of ${inSeconds(verdict.limitMs)}`;
    case "stop_then_dead":
      return `alive without a supervisor and not adopted for ${inSeconds(verdict.waitedMs)} (limit ${inSeconds(verdict.limitMs)})`;
    case "hung":
      return verdict.reason === "progress_stale"
        ? `no progress for ${inSeconds(verdict.silentMs)} (heartbeat timeout ${inSeconds(verdict.limitMs)}${deaf(verdict.deafMs)})`
        : `no heartbeat at all in ${inSeconds(verdict.silentMs)} since the start (limit ${inSeconds(verdict.limitMs)}${deaf(verdict.deafMs)})`;
    case "timed_out":
      return `running for ${inSeconds(verdict.ageMs)}, timeout ${inSeconds(verdict.limitMs)}`;
    case "over_age":
      return `running for ${inSeconds(verdict.ageMs)}, ceiling ${inSeconds(verdict.ceilingMs)}${verdict.exitCode === undefined ? "" : `, exit code ${verdict.exitCode}`}`;
  }
}

function explainDead(verdict: Dead): string {
  switch (verdict.reason) {
    case "dead_pid":
      return `dead pid ${verdict.pid} (${verdict.streak} looks${verdict.lifePipe === "held" ? ", strays of it still live" : ""})`;
    case "other_boot":
      return `the host was started again; its session was last heard ${inSeconds(verdict.sinceHeardMs)} ago`;
    case "life_pipe_released":
      return "nothing of the run holds its life pipe any more";
    case "host_silent":
      return `its host, which has its files, is silent for ${inSeconds(verdict.silentMs)} (limit ${inSeconds(verdict.limitMs)}${deaf(verdict.deafMs)})`;
    case "session_silent":
      return `worker silent for ${inSeconds(verdict.silentMs)} (limit ${inSeconds(verdict.limitMs)}${deaf(verdict.deafMs)})`;
  }
}

function explainNeverStarted(verdict: NeverStarted): string {
  const limit = verdict.limitMs === undefined ? "" : ` (limit ${inSeconds(verdict.limitMs)})`;
  switch (verdict.reason) {
    case "nogo":
      return "its worker went away before it gave the word";
    case "not_held":
      return "its worker does not hold it";
    case "not_named":
      return `its worker has not named it${limit}`;
    case "session_dead":
      return "its worker is dead";
    case "session_silent":
      return `its worker is silent${limit}`;
    case "dead_pid":
      return `pid ${verdict.pid} is dead`;
    case "other_boot":
      return "its host was started again";
    case "wrapper_dead":
      return `its wrapper (pid ${verdict.pid}) died before a command started`;
    case "age_ceiling":
      return `reserved for ${inSeconds(verdict.ageMs)}${limit}`;
  }
}

function explainFinaliser(verdict: ExitedKnown | TakeOver): string {
  switch (verdict.reason) {
    case "finaliser_dead":
      return "its finaliser is dead";
    case "finalize_grace_over":
      return `not finalised for ${inSeconds(verdict.ageMs)} (grace ${inSeconds(verdict.limitMs)})`;
    case "gate_due":
      return `its gate has been unreadable for ${inSeconds(verdict.ageMs)} and is read again (patience ${inSeconds(verdict.limitMs)})`;
    case "gate_patience_over":
      return `its gate has been unreadable for ${inSeconds(verdict.ageMs)} (patience ${inSeconds(verdict.limitMs)} is over)`;
  }
}
