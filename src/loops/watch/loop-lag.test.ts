import { expect, test } from "vitest";
import { LoopLag } from "./loop-lag.ts";

function measured() {
  let now = 1_000_000;
  const lag = new LoopLag({ monoNow: () => now, periodMs: 1000 });
  return {
    lag,
    beatAfter: (ms: number) => {
      now += ms;
      lag.beat();
    },
  };
}

test("the worst delay since the last call is returned, once", () => {
  const { lag, beatAfter } = measured();
  for (const ms of [500, 1000, 1740, 1020]) beatAfter(ms);
  expect(lag.take()).toBe(740);
  expect(lag.take()).toBeUndefined();
  beatAfter(1001.4);
  expect(lag.take()).toBe(1);
});

test("nothing is known before two beats, and a beat that comes early is not late", () => {
  const { lag, beatAfter } = measured();
  expect(lag.take()).toBeUndefined();
  beatAfter(9000);
  expect(lag.take()).toBeUndefined();
  beatAfter(998);
  expect(lag.take()).toBe(0);
});
