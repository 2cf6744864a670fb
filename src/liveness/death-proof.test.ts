import { expect, test } from "vitest";
import { statesOf } from "../domain/lifecycles/lifecycle.ts";
import { workerLifecycle } from "../domain/lifecycles/worker.ts";
import { isSessionOver } from "./death-proof.ts";

test("a session is over in its final states alone: a draining one still looks after its runs", () => {
  const final = statesOf(workerLifecycle).filter((state) => workerLifecycle.states[state].final === true);
  expect(statesOf(workerLifecycle).filter(isSessionOver)).toEqual(final);
  expect(isSessionOver("draining")).toBe(false);
});
