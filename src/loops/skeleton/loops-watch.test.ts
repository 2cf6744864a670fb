import { expect, test } from "vitest";
import { LoopsWatch } from "./loops-watch.ts";

const settled = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

/** A watch whose beats a test gives, and what it calls, in order. */
function watchOf(looks: readonly (() => Promise<void>)[] = []) {
  const calls: string[] = [];
  const told: unknown[] = [];
  const listeners = new Set<() => void>();
  const watch = new LoopsWatch({
    set: {
      checkLate: () => calls.push("late"),
      start: () => calls.push("start"),
      stop: async () => void calls.push("stop"),
    },
    pulse: { each: (listener) => (listeners.add(listener), () => void listeners.delete(listener)) },
    lag: { beat: () => calls.push("beat") },
    looks,
    emit: (name, data) => told.push([name, data]),
  });
  const beat = async (): Promise<void> => {
    for (const listener of listeners) listener();
    await settled();
  };
  return { watch, calls, told, beat };
}

const store = { onHint: () => () => undefined };

test("loops are looked at as they start, and at each beat until they stop", async () => {
  const { watch, calls, beat } = watchOf([async () => void calls.push("disk")]);
  await beat();
  expect([calls, watch.hasStarted]).toEqual([[], false]);
  watch.start(store);
  expect([calls, watch.hasStarted]).toEqual([["late", "disk", "start"], true]);
  await settled();
  calls.length = 0;
  await beat();
  expect(calls).toEqual(["beat", "late", "disk"]);
  calls.length = 0;
  await watch.stop();
  await beat();
  expect([calls, watch.hasStarted]).toEqual([["stop"], true]);
});

test("a check that hangs or fails delays neither lateness nor the other checks, and is not started twice", async () => {
  let answer: () => void = () => undefined;
  const look = (name: string, result: () => Promise<void>) => async () => {
    calls.push(name);
    await result();
  };
  const { watch, calls, told, beat } = watchOf([
    look("disk", async () => await new Promise<void>((resolve) => (answer = resolve))),
    look("clock", async () => await Promise.reject(new Error("no answer"))),
  ]);
  watch.start(store);
  await beat();
  calls.length = 0;
  told.length = 0;
  await beat();
  expect(calls).toEqual(["beat", "late", "clock"]);
  expect(told).toEqual([["store.degraded", { code: "watch_failed", message: "no answer" }]]);
  answer();
  await settled();
  calls.length = 0;
  await beat();
  expect(calls).toEqual(["beat", "late", "disk", "clock"]);
});
