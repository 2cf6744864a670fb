import type { Fault } from "../fault.ts";
import type { SetUp } from "../set-up.ts";
import { hungShare, missingSecret, unmountedShare } from "./foreign-paths.ts";
import { fullDataDisk, noInodes, noRoomForRuns } from "./full-disks.ts";
import { hostileTextFaults } from "./hostile-text.ts";
import { outputFaults } from "./output.ts";
import { ownerFaults } from "./owners.ts";
import { poisonHandler } from "./poison.ts";
import { postgresFaults } from "./postgres.ts";
import { missingDaemon, processFaults, standingDaemon, standingHandlerHost, standingWrapper } from "./processes.ts";

/** What holds today, and is drawn. */
const held: readonly Fault[] = [
  ...processFaults,
  ...postgresFaults,
  ...hostileTextFaults,
  ...outputFaults,
  ...ownerFaults,
  standingDaemon,
  missingDaemon,
  standingHandlerHost,
  standingWrapper,
  noInodes,
  noRoomForRuns,
  fullDataDisk,
  missingSecret,
  unmountedShare,
  hungShare,
  poisonHandler,
];

/** What does not hold yet, by the rows that stand open: drawn with `--all` alone. Whoever mends one moves it up. */
const notYetHeld: readonly Fault[] = [];

/** The kinds of this set-up, in a fixed order: a point is drawn by their places. */
export const kindsFor = (setUp: SetUp, all: boolean): readonly Fault[] =>
  [...held, ...(all ? notYetHeld : [])].filter(({ setUps }) => setUps.includes(setUp));
