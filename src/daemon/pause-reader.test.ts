import { expect, test, vi } from "vitest";
import { until } from "../../test/support/until.ts";
import { readAtEachBeat } from "./pause-reader.ts";

test("each beat reads once, never twice at a time, and goes on after a store that did not answer", async () => {
  let beat: () => void = () => undefined;
  const stop = vi.fn();
  const pulse = {
    each: (listener: () => void) => {
      beat = listener;
      return stop;
    },
  };
  let fail: (why: Error) => void = () => undefined;
  const refresh = vi.fn(() => new Promise<void>((_, reject) => (fail = reject)));
  const off = readAtEachBeat(pulse, { refresh });
  beat();
  beat();
  expect(refresh).toHaveBeenCalledTimes(1);
  fail(new Error("no answer"));
  await until(() => {
    beat();
    return refresh.mock.calls.length === 2;
  });
  off();
  expect(stop).toHaveBeenCalled();
});
