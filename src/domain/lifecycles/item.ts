import type { Lifecycle } from "./lifecycle.ts";

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
