import { expect, test } from "vitest";
import { isHeartbeatStale } from "./heartbeat-policy.ts";

test("700 s old at a timeout of 600 s is stale, 0 s is not, exactly equal is not [A-4]", () => {
  expect([700, 0, 600, 600.001].map((age) => isHeartbeatStale({ age }, { timeout: 600 }))).toEqual([true, false, false, true]);
});

test("absent: not stale at once, stale once twice the timeout has passed since the start [A-5]", () => {
  expect([0, 600, 1199.9, 1200].map((absentFor) => isHeartbeatStale({ absentFor }, { timeout: 600 }))).toEqual([false, false, false, true]);
});

test("an absent-timeout may be given, and is for the absent alone; 0 makes it stale immediately [A-3, A-6]", () => {
  expect(isHeartbeatStale({ absentFor: 0 }, { timeout: 60, absentTimeout: 0 })).toBe(true);
  expect(isHeartbeatStale({ age: 1 }, { timeout: 60, absentTimeout: 0 })).toBe(false);
  expect([4, 5].map((absentFor) => isHeartbeatStale({ absentFor }, { timeout: 60, absentTimeout: 5 }))).toEqual([false, true]);
});

test("adding stages never changes the predicate: it is given numbers, and no stage at all [A-24]", () => {
  expect(isHeartbeatStale).toHaveLength(2);
  expect([600, 601].map((age) => isHeartbeatStale({ age }, { timeout: 600 }))).toEqual([false, true]);
});
