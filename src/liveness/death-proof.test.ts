import { expect, test } from "vitest";
import { at } from "../../test/support/judged-run.ts";
import { statesOf } from "../domain/lifecycles/lifecycle.ts";
import { workerLifecycle } from "../domain/lifecycles/worker.ts";
import { addMs } from "../domain/time.ts";
import { diedWithEarlierBoot, isProvedDead, isSessionOver } from "./death-proof.ts";

test("a session is over in its final states alone: a draining one still looks after its runs", () => {
  const final = statesOf(workerLifecycle).filter((state) => workerLifecycle.states[state].final === true);
  expect(statesOf(workerLifecycle).filter(isSessionOver)).toEqual(final);
  expect(isSessionOver("draining")).toBe(false);
});

test("another boot id proves a death once its session is silent by the clock, on a host that is one machine, and nothing else does", () => {
  for (const life of ["alive", "dead", "otherBoot", "unknown"] as const)
    for (const silentMs of [0, 29_999, 30_000, 90_000])
      for (const hostConflict of [false, true]) {
        const looked = [{ life, heardAt: at(0), hostConflict }, { deadAfterMs: 30_000 }, addMs(at(0), silentMs)] as const;
        const withBoot = life === "otherBoot" && silentMs >= 30_000 && !hostConflict;
        expect(diedWithEarlierBoot(...looked)).toBe(withBoot);
        expect(isProvedDead(...looked), "gone in this boot at once").toBe(withBoot || (life === "dead" && !hostConflict));
      }
});
