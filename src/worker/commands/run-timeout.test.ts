import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { asInstant, type DurationMs } from "../../domain/time.ts";
import { RunTimeout } from "./run-timeout.ts";

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

/** A timeout over a store whose clock may be behind the timers. */
function timeout(scene: { timeoutMs?: DurationMs; slept?: number; answers?: (DurationMs | undefined | Error)[] } = {}) {
  const { timeoutMs = 1000, slept = 0, answers = [] } = scene;
  const asked: DurationMs[] = [];
  const failures: unknown[] = [];
  const made = new RunTimeout({
    timeoutMs,
    startedAt: asInstant(0),
    now: () => asInstant(Date.now() - slept),
    onTimeout: async (afterMs) => {
      asked.push(afterMs);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
    onFailure: (thrown) => failures.push(thrown),
  });
  return { made, asked, failures };
}

test("a run is reported when its time is over, once", async () => {
  const { asked } = timeout();
  await vi.advanceTimersByTimeAsync(999);
  expect(asked).toEqual([]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toEqual([1000]);
});

test("a run that has ended is never reported", async () => {
  const { made, asked } = timeout();
  made.cancel();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toEqual([]);
});

test("a timer that is ahead of the store's clock waits for it", async () => {
  const { asked } = timeout({ slept: 5 });
  await vi.advanceTimersByTimeAsync(1004);
  expect(asked).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked).toEqual([1000]);
});

test("a run whose host slept goes on for what it has left, and is asked about again then", async () => {
  const { asked } = timeout({ answers: [300] });
  await vi.advanceTimersByTimeAsync(1299);
  expect(asked).toEqual([1000]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toEqual([1000, 1300]);
});

test("a store that does not answer is asked again each second, and reported each time", async () => {
  const away = new Error("the store is away");
  const { asked, failures } = timeout({ answers: [away, away] });
  await vi.advanceTimersByTimeAsync(60_000);
  expect([asked, failures]).toEqual([
    [1000, 2000, 3000],
    [away, away],
  ]);
});

test("a timeout longer than a timer can be is left to the reaper, and never fires at once", async () => {
  const { asked } = timeout({ timeoutMs: 2 ** 31 });
  await vi.advanceTimersByTimeAsync(60_000);
  expect([asked, vi.getTimerCount()]).toEqual([[], 0]);
});
