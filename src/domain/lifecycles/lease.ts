import type { Lifecycle } from "./lifecycle.ts";

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
