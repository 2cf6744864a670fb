import { type Fault, nothingToEnd } from "../fault.ts";
import { setUps } from "../set-up.ts";

/** A handler that ends its process each time: it fails alone, and what shared the process with it is charged for nothing. */
export const poisonHandler: Fault = {
  name: "poison-handler",
  rows: ["F-8.7"],
  setUps,
  needs: [],
  hits: ["handler-host", "load"],
  handlers: { outcomes: ["lost", "released"], spends: "nothing" },
  lastsMs: [1500, 2500],
  // The host is started again more slowly each time that it dies.
  recoversWithinMs: 20_000,
  begin: async ({ load }) => {
    load.task({ task: "poison", payload: {}, ends: "failed", maxAttempts: 2 });
    return nothingToEnd;
  },
};
