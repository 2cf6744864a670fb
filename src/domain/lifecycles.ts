/**
 * What things are and what may happen to them: one table per noun. Types, store guards, state rows and
 * docs/lifecycles.md are all taken from here, and tests hold them equal.
 */
interface StateRow {
  readonly meaning: string;
  /** Nothing leaves a final state, but for a person's `retry` or `rerun`, which open something new. */
  readonly final?: true;
  /** Who moves a thing out of this state when its holder has died, so that no state is limbo. */
  readonly rescuer?: string;
}

interface TransitionRow<State extends string> {
  readonly from: readonly State[];
  readonly to: State;
  readonly verb: string;
  readonly when: string;
}

export interface Lifecycle<State extends string> {
  readonly noun: string;
  readonly initial: readonly State[];
  readonly states: Readonly<Record<State, StateRow>>;
  readonly transitions: readonly TransitionRow<State>[];
}

export type JobState = "scheduled" | "queued" | "running" | "done" | "failed" | "held" | "cancelled";

export const jobLifecycle: Lifecycle<JobState> = {
  noun: "job",
  initial: ["queued", "scheduled"],
  states: {
    scheduled: {
      meaning: "waits for its time: delayed, or backing off before a retry",
      rescuer: "scheduler",
    },
    queued: {
      meaning: "may be claimed, unless it is blocked by a run that is still being stopped, or paused",
      rescuer: "stopper",
    },
    running: { meaning: "has a current run", rescuer: "job-reaper" },
    done: {
      meaning: "its work succeeded and its gate, if any, was green",
      final: true,
    },
    failed: { meaning: "its budget is spent", final: true },
    held: {
      meaning: "kept for a person, who may unhold or cancel it",
      rescuer: "a person, told by an alert",
    },
    cancelled: { meaning: "a person ended it", final: true },
  },
  transitions: [
    {
      from: ["scheduled"],
      to: "queued",
      verb: "promote",
      when: "its time has come",
    },
    {
      from: ["queued"],
      to: "running",
      verb: "claim",
      when: "a worker takes it: not blocked, not paused, a slot is free",
    },
    {
      from: ["running"],
      to: "done",
      verb: "settle",
      when: "its run ended well and the gate is green",
    },
    {
      from: ["running"],
      to: "queued",
      verb: "settle",
      when: "another attempt is due now, or the run was released unspent",
    },
    {
      from: ["running"],
      to: "scheduled",
      verb: "settle",
      when: "another attempt is due later",
    },
    {
      from: ["running"],
      to: "failed",
      verb: "settle",
      when: "no attempt is left",
    },
    {
      from: ["running"],
      to: "held",
      verb: "settle",
      when: "its exit code, its losses or its budget's policy ask for a person",
    },
    {
      from: ["scheduled", "queued"],
      to: "held",
      verb: "hold",
      when: "its stage is not declared any more, so nobody would ever claim it; a block by a run that is being stopped stays with it",
    },
    {
      from: ["running", "queued", "scheduled", "held"],
      to: "cancelled",
      verb: "cancel",
      when: "a person ends it",
    },
    {
      from: ["held"],
      to: "queued",
      verb: "unhold",
      when: "a person grants one more attempt",
    },
  ],
};

export type RunState = "reserved" | "started" | "exited" | "ended";

export const runLifecycle: Lifecycle<RunState> = {
  noun: "run",
  initial: ["reserved", "started"],
  states: {
    reserved: {
      meaning: "claimed, not started; has spent nothing",
      rescuer: "job-reaper",
    },
    started: { meaning: "its process is at work", rescuer: "job-reaper" },
    exited: {
      meaning: "its exit is on record; finalising and the gate come next",
      rescuer: "job-reaper",
    },
    ended: {
      meaning: "has an outcome, a reason and its evidence",
      final: true,
    },
  },
  transitions: [
    {
      from: ["reserved"],
      to: "started",
      verb: "start",
      when: "its supervisor commits the process identity",
    },
    {
      from: ["started"],
      to: "exited",
      verb: "recordExit",
      when: "an exit record is read, before anything else is done",
    },
    {
      from: ["reserved", "started", "exited"],
      to: "ended",
      verb: "settle",
      when: "a verdict is settled by whoever wins the flip",
    },
  ],
};

export type ItemState = "active" | "paused" | "done" | "failed" | "cancelled";

export const itemLifecycle: Lifecycle<ItemState> = {
  noun: "item",
  initial: ["active"],
  states: {
    active: { meaning: "moves through its pipeline", rescuer: "reconciler" },
    paused: {
      meaning: "kept where it is by a person; running work ends, nothing new starts",
    },
    done: { meaning: "passed its last stage", final: true },
    failed: { meaning: "a stage's budget is spent", final: true },
    cancelled: { meaning: "a person ended it", final: true },
  },
  transitions: [
    {
      from: ["active"],
      to: "paused",
      verb: "pause",
      when: "a person pauses it",
    },
    {
      from: ["paused"],
      to: "active",
      verb: "resume",
      when: "a person resumes it",
    },
    {
      from: ["active", "paused"],
      to: "done",
      verb: "advance",
      when: "its last stage passed",
    },
    {
      from: ["active", "paused"],
      to: "failed",
      verb: "settle",
      when: "a stage's budget is spent",
    },
    {
      from: ["active", "paused"],
      to: "cancelled",
      verb: "cancel",
      when: "a person ends it",
    },
    {
      from: ["done", "failed", "cancelled"],
      to: "active",
      verb: "rerun",
      when: "a person runs it again from a stage, or retries the failed one",
    },
  ],
};

export type VisitState = "open" | "passed" | "returned" | "failed";

export const visitLifecycle: Lifecycle<VisitState> = {
  noun: "visit",
  initial: ["open"],
  states: {
    open: {
      meaning: "the item is in this stage; at most one unfinished job",
      rescuer: "reconciler",
    },
    passed: { meaning: "the stage's work succeeded", final: true },
    returned: {
      meaning: "left without passing: cancelled, or replaced by a rerun",
      final: true,
    },
    failed: { meaning: "the stage's budget is spent", final: true },
  },
  transitions: [
    {
      from: ["open"],
      to: "passed",
      verb: "advance",
      when: "its job is done and the item moves on, in one transaction",
    },
    { from: ["open"], to: "failed", verb: "settle", when: "its job failed" },
    {
      from: ["open", "failed"],
      to: "returned",
      verb: "rerun",
      when: "a new visit replaces it, or its item is cancelled",
    },
    {
      from: ["failed"],
      to: "open",
      verb: "retry",
      when: "a person grants a fresh budget",
    },
  ],
};

export type WorkerState = "live" | "draining" | "stopped" | "dead";

export const workerLifecycle: Lifecycle<WorkerState> = {
  noun: "worker",
  initial: ["live"],
  states: {
    live: {
      meaning: "renews its session and claims jobs",
      rescuer: "worker-reaper",
    },
    draining: {
      meaning: "renews its session, ends what it holds, claims nothing",
      rescuer: "worker-reaper",
    },
    stopped: { meaning: "said goodbye", final: true },
    dead: {
      meaning: "its process is proved dead, or its silence has outlasted every doubt",
      final: true,
    },
  },
  transitions: [
    {
      from: ["live"],
      to: "draining",
      verb: "drain",
      when: "it was asked to stop",
    },
    {
      from: ["live", "draining"],
      to: "stopped",
      verb: "leave",
      when: "it holds nothing, or leaves what it holds for adoption",
    },
    {
      from: ["live", "draining"],
      to: "dead",
      verb: "bury",
      when: "the worker-reaper's verdict",
    },
  ],
};

export type LeaseState = "free" | "held";

export const leaseLifecycle: Lifecycle<LeaseState> = {
  noun: "lease",
  initial: ["free"],
  states: {
    free: { meaning: "the first waiter gets it", rescuer: "lease sweep" },
    held: {
      meaning: "one run or process holds it under a fencing number",
      rescuer: "lease sweep",
    },
  },
  transitions: [
    {
      from: ["free"],
      to: "held",
      verb: "grant",
      when: "a run or a process asks, or is first in line; the fencing number rises",
    },
    {
      from: ["held"],
      to: "free",
      verb: "release",
      when: "the holder returns it",
    },
    {
      from: ["held"],
      to: "free",
      verb: "reclaim",
      when: "the holder is dead, or unknown past the TTL, and its run is not being stopped",
    },
  ],
};

export const lifecycles = [jobLifecycle, runLifecycle, itemLifecycle, visitLifecycle, workerLifecycle, leaseLifecycle] as const;

/** The states of a lifecycle, in the table's order. */
export function statesOf<State extends string>(lifecycle: Lifecycle<State>): readonly State[] {
  return Object.keys(lifecycle.states) as State[];
}

/** The states that `verb` may leave for `to`: what the guard of its UPDATE names. */
export function sourcesOf<State extends string>(lifecycle: Lifecycle<State>, verb: string, to: State): readonly State[] {
  return lifecycle.transitions.filter((row) => row.verb === verb && row.to === to).flatMap((row) => row.from);
}

/** How a run ended. The reason beside it says why, in a stable code of its own. */
export type RunOutcome =
  | "succeeded"
  | "failed" // exit code, bad output, thrown error
  | "gate_red"
  | "hung"
  | "timed_out"
  | "lost" // dead without an exit, killed by a signal that was not ours, fenced
  | "cancelled"
  | "released" // handed back by a drain, a shutdown or a pause
  | "never_started";

export const runOutcomes = [
  "succeeded",
  "failed",
  "gate_red",
  "hung",
  "timed_out",
  "lost",
  "cancelled",
  "released",
  "never_started",
] as const satisfies readonly RunOutcome[];
