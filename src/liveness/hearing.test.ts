import fc from "fast-check";
import { expect, test } from "vitest";
import { type Hearing, heardNow, isUnheard, lookedAgain } from "./hearing.ts";

const limits = { lookMs: 1000, limitMs: 30_000, reannounceMs: 10_000 };
const after = (hearing: Hearing, ...passed: readonly number[]): Hearing =>
  passed.reduce((before, ms) => lookedAgain(before, before.lookedAt + ms, limits), hearing);
const looks = (count: number): readonly number[] => Array<number>(count).fill(1000);

test("silence for the limit, looked at on time, counts [F-9.1]", () => {
  expect(isUnheard(after(heardNow(5), ...looks(29)), limits)).toBe(false);
  expect(isUnheard(after(heardNow(5), ...looks(30)), limits)).toBe(true);
});

test("the watcher's own standstill counts as one look, and it must have heard again before a silence counts [F-9.1]", () => {
  const stopped = after(heardNow(0), 3_600_000);
  expect(stopped.unheardMs).toBe(1000);
  const late = after(heardNow(0), ...looks(29), 3_600_000);
  expect(late.unheardMs, "what was nearly the limit is 10 s below it again").toBe(20_000);
  expect(isUnheard(after(late, ...looks(9)), limits)).toBe(false);
  expect(isUnheard(after(late, ...looks(10)), limits)).toBe(true);
});

test("a watcher that keeps standing still judges in the end", () => {
  let hearing = heardNow(0);
  let count = 0;
  while (!isUnheard(hearing, limits) && count < 1000) {
    hearing = after(hearing, 5000);
    count++;
  }
  expect(count).toBeGreaterThanOrEqual(300);
  expect(count).toBeLessThan(320);
});

test("however the looks come, a silence never counts before the limit has passed", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 60 }), (passed) => {
      const hearing = after(heardNow(0), ...passed);
      expect(hearing.unheardMs).toBeLessThanOrEqual(hearing.lookedAt);
      expect(hearing.unheardMs).toBeGreaterThanOrEqual(0);
    }),
  );
});
