import type { Migration } from "../engine/migration.ts";
import { initial } from "./0001-initial.postgres.ts";
import { ownLimits } from "./0002-own-limits.postgres.ts";
import { openKindsSteps } from "./0003-open-kinds.postgres.ts";
import { contradictions, readyAndLiveSteps } from "./0004-ready-and-live.postgres.ts";
import { severalDaemonsSteps } from "./0005-several-daemons.postgres.ts";

/** The server engine's migrations, oldest first. */
export const postgresMigrations: readonly Migration[] = [
  { number: 1, name: "initial", text: initial },
  { number: 2, name: "own limits", text: ownLimits },
  { number: 3, name: "open kinds", steps: openKindsSteps },
  { number: 4, name: "ready and live", steps: readyAndLiveSteps, contradictions },
  { number: 5, name: "several daemons", steps: severalDaemonsSteps },
];
