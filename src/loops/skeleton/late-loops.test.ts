import { expect, test } from "vitest";
import { createLateLoopsWatch } from "./late-loops.ts";

test("a check that hangs or fails delays neither lateness nor the other checks, and is not started twice", async () => {
  const calls: string[] = [];
  const told: unknown[] = [];
  let answer: () => void = () => undefined;
  const look = (name: string, result: () => Promise<void>) => async () => {
    calls.push(name);
    await result();
  };
  const turn = createLateLoopsWatch({
    checkLate: () => calls.push("late"),
    looks: [
      look("disk", async () => await new Promise<void>((resolve) => (answer = resolve))),
      look("clock", async () => await Promise.reject(new Error("no answer"))),
    ],
    emit: (name, data) => told.push([name, data]),
  });
  const settled = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));
  for (let round = 0; round < 2; round++) {
    turn();
    await settled();
  }
  expect(calls).toEqual(["late", "disk", "clock", "late", "clock"]);
  expect(told).toEqual(Array.from({ length: 2 }, () => ["store.degraded", { code: "watch_failed", message: "no answer" }]));
  answer();
  await settled();
  calls.length = 0;
  turn();
  expect(calls).toEqual(["late", "disk", "clock"]);
});
