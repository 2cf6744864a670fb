import type { Lifecycle } from "./lifecycle.ts";

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
