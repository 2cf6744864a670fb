import type { Lifecycle } from "./lifecycle.ts";

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
      verb: "declareDead",
      when: "the worker-reaper's verdict",
    },
  ],
};
