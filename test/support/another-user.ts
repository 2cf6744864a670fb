import type { TestContext } from "vitest";
import { repositoryRoot } from "../../scripts/source-tree.ts";
import { everyoneMayEnter } from "./postgres-server.ts";
import { skipTest } from "./skips.ts";

/** The account that tests of a root user run as to see permissions refused: nothing is closed to root. */
export const nobody = 65534;

/** Ends the running test as skipped where it would load this checkout as {@link nobody}, who may not enter the folder it lies in. */
export function needOpenCheckout(context: TestContext): void {
  if (process.getuid?.() === 0 && !everyoneMayEnter(repositoryRoot)) skipTest(context, "only root may enter the folder of this checkout");
}
