import { expect, test } from "vitest";
import { OutstandingLimit } from "./outstanding-limit.ts";

test("until something has ended a worker reserves nothing ahead", () => {
  expect(new OutstandingLimit({ concurrency: 4, max: 200, monoNow: 0 }).value).toBe(4);
});

test("slow handlers reserve nothing ahead: what they reserved another worker could not take", () => {
  const limit = new OutstandingLimit({ concurrency: 1, max: 200, monoNow: 0 });
  limit.ended(1, 3_600_000);
  expect(limit.value).toBe(1);
  limit.ended(1, 3_600_150);
  expect(limit.value).toBe(1);
});

test("fast ones reserve what ends within 100 ms, up to the bound, and less again when they slow down", () => {
  const limit = new OutstandingLimit({ concurrency: 2, max: 30, monoNow: 0 });
  limit.ended(10, 50);
  expect(limit.value).toBe(2 + 20);
  limit.ended(50, 100);
  expect(limit.value).toBe(30);
  limit.ended(1, 1_100);
  expect(limit.value).toBe(2);
});

test("a whole batch that ends before the window is over counts at once, a part of it only with the window", () => {
  const limit = new OutstandingLimit({ concurrency: 4, max: 200, monoNow: 0 });
  limit.ended(3, 10);
  expect(limit.value).toBe(4);
  limit.ended(1, 20);
  expect(limit.value).toBe(4 + 20);
});

test("the bound is never below the concurrency", () => {
  expect(new OutstandingLimit({ concurrency: 8, max: 3, monoNow: 0 }).value).toBe(8);
});
