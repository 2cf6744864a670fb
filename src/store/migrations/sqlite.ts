import type { Migration } from "../engine/migration.ts";
import { initial } from "./0001-initial.sqlite.ts";
import { ownLimitsSteps } from "./0002-own-limits.sqlite.ts";
import { openKinds } from "./0003-open-kinds.sqlite.ts";
import { contradictions, readyAndLiveSteps } from "./0004-ready-and-live.sqlite.ts";
import { severalDaemonsSteps } from "./0005-several-daemons.sqlite.ts";

/** The embedded engine's migrations, oldest first. */
export const sqliteMigrations: readonly Migration[] = [
  { number: 1, name: "initial", text: initial },
  { number: 2, name: "own limits", steps: ownLimitsSteps },
  { number: 3, name: "open kinds", text: openKinds, rebuilds: true },
  { number: 4, name: "ready and live", steps: readyAndLiveSteps, contradictions },
  { number: 5, name: "several daemons", steps: severalDaemonsSteps },
];
