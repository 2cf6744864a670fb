import { expect, test } from "vitest";
import { asInstant } from "../../domain/time.ts";
import { newVantage } from "../../liveness/vantage.ts";
import type { EventName } from "../../telemetry/events.ts";
import { Watcher } from "./watcher.ts";

const seconds = (n: number): number => n * 1000;

test("the watcher tells each change of its doubt once", () => {
  const told: EventName[] = [];
  const watcher = new Watcher(newVantage(), { emit: (name) => told.push(name), alert: async () => true });
  const at = (s: number) => asInstant(1_000_000 + seconds(s));
  for (let time = 0; time < 8; time++) watcher.wasDeaf({ from: at(10 * time), to: at(10 * time + 3), cause: "stalled" });
  expect(told).toEqual(["vantage.unstable"]);
  watcher.deafFrom("store_unreachable", at(100));
  watcher.hearsAgain("store_unreachable", at(130));
  expect(told).toEqual(["vantage.unstable"]);
});
