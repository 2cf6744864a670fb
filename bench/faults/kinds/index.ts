import type { Fault } from "../fault.ts";
import type { SetUp } from "../set-up.ts";
import { processFaults, standingDaemon, standingHandlerHost, standingWrapper } from "./processes.ts";

/** What holds today, and is drawn. */
const held: readonly Fault[] = [...processFaults];

/** What does not hold yet, by the rows that stand open: drawn with `--all` alone. Whoever mends one moves it up. */
const notYetHeld: readonly Fault[] = [standingDaemon, standingHandlerHost, standingWrapper];

/** The kinds of this set-up, in a fixed order: a point is drawn by their places. */
export const kindsFor = (setUp: SetUp, all: boolean): readonly Fault[] =>
  [...held, ...(all ? notYetHeld : [])].filter(({ setUps }) => setUps.includes(setUp));
