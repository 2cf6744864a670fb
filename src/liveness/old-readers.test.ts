import { expect, test } from "vitest";
import { defaultReaderLimits, isOverdueTransaction, longLogBytes, type OpenTransaction, shortReadMs } from "./old-readers.ts";

const open: OpenTransaction = { ageMs: 300_000, transactions: 10_000, catalogOnly: false };
const overdue = (change: Partial<OpenTransaction>, sinceMs = 0) =>
  isOverdueTransaction({ ...open, ...change }, defaultReaderLimits, sinceMs);

test("a transaction is overdue when it is both old and holds back many", () => {
  expect(overdue({})).toBe(true);
  expect(overdue({ ageMs: 299_999 }, 1_000_000)).toBe(false);
  expect(overdue({ transactions: 9999 })).toBe(false);
});

test("one of unknown age counts since it was first seen to hold back many", () => {
  expect(overdue({ ageMs: null }, 299_999)).toBe(false);
  expect(overdue({ ageMs: null }, 300_000)).toBe(true);
});

test("what keeps only the server's catalogue is never overdue", () => {
  expect(overdue({ catalogOnly: true, transactions: 1e9 })).toBe(false);
});

test("people are told after five minutes or 64 MiB; a log of 16 MiB is cut, and a read of ten seconds is a long one", () => {
  expect(defaultReaderLimits).toEqual({ alertAfterMs: 300_000, alertLogBytes: 67_108_864 });
  expect([longLogBytes, shortReadMs]).toEqual([16_777_216, 10_000]);
});
