import type { Lifecycle } from "./lifecycle.ts";

export type JobState = "scheduled" | "queued" | "running" | "done" | "returned" | "failed" | "held" | "cancelled";

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
    returned: {
      meaning: "its run ended well, its gate was red, and its item went where its stage says for that: no failure. No verb leads here yet",
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
      when: "its stage is not declared any more, or the attempts of its visit were spent before it was made; a block by a run that is being stopped stays with it",
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
