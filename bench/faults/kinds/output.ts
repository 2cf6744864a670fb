import type { Fault } from "../fault.ts";
import { nothingToEnd } from "../fault.ts";
import { setUps } from "../set-up.ts";

/** Who reads what the daemon says stands still, as a terminal after Ctrl-S. */
const stoppedReader: Fault = {
  name: "output-reader-stops",
  rows: ["F-8.6"],
  setUps,
  needs: [],
  hits: ["output"],
  lastsMs: [1500, 2500],
  begin: async ({ world }) => {
    for (const daemon of world.daemons) daemon.readOutput(false);
    return async () => {
      for (const daemon of world.daemons) daemon.readOutput(true);
    };
  },
};

/** Who reads what the daemon says is gone. */
const deadReader: Fault = {
  name: "output-reader-dies",
  rows: ["F-8.6"],
  setUps,
  needs: [],
  hits: ["output"],
  lastsMs: [300, 1000],
  begin: async ({ world }) => {
    for (const daemon of world.daemons) daemon.closeOutput();
    return nothingToEnd;
  },
};

export const outputFaults: readonly Fault[] = [stoppedReader, deadReader];
