import { expect, test } from "vitest";
import { type LateStep, StopSteps } from "./stop-steps.ts";

const never = (): Promise<never> => new Promise(() => undefined);

function stopSteps(deadlineMs: number) {
  const told: LateStep[] = [];
  const steps = new StopSteps({ deadlineMs, mono: () => performance.now(), onLate: (late) => told.push(late) });
  return { steps, told };
}

test("a step that never ends is left after its time, named, and the others are taken", async () => {
  const { steps, told } = stopSteps(600_000);
  const taken: string[] = [];
  await steps.take("first", 60_000, async () => taken.push("first"));
  await steps.take("hung", 20, never);
  await steps.take("last", 60_000, async () => taken.push("last"));
  expect(taken).toEqual(["first", "last"]);
  expect(told.map(({ step }) => step)).toEqual(["hung"]);
  expect(steps.late).toEqual(told);
});

test("all steps together end at the deadline, however much time each was given; each is still begun", async () => {
  const { steps, told } = stopSteps(30);
  const begun: string[] = [];
  for (const step of ["a", "b", "c"]) {
    await steps.take(step, 60_000, () => {
      begun.push(step);
      return never();
    });
  }
  expect(begun).toEqual(["a", "b", "c"]);
  expect(told.map(({ step }) => step)).toEqual(["a", "b", "c"]);
});

test("a step that fails is kept for the report, and the others are taken", async () => {
  const { steps, told } = stopSteps(600_000);
  await steps.take("broken", 60_000, async () => {
    throw new Error("no");
  });
  await steps.take("next", 60_000, async () => undefined);
  expect([steps.failures.map(({ step }) => step), told]).toEqual([["broken"], []]);
});

test("the deadline begins anew after work that is waited for", async () => {
  let mono = 0;
  const steps = new StopSteps({ deadlineMs: 1000, mono: () => mono, onLate: () => undefined });
  await steps.takeUnbounded("work", async () => void (mono += 3_600_000));
  await steps.take("after", 500, async () => undefined);
  expect(steps.late).toEqual([]);
});
