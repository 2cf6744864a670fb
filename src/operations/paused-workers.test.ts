import { expect, test } from "vitest";
import { asHostId } from "../domain/ids.ts";
import { asInstant } from "../domain/time.ts";
import { PausedWorkers } from "./paused-workers.ts";

const worker = { name: "commands@data", process: { hostId: asHostId("host-one") } };
const at = asInstant(5000);

/** The settings of a store, shared by those who open it. */
function settings(first?: string) {
  const rows = new Map<string, string>(first === undefined ? [] : [["paused_workers", first]]);
  return {
    setting: async (name: string) => rows.get(name),
    putSetting: async (name: string, value: string) => void rows.set(name, value),
  };
}

test("a pause through one daemon reaches the worker's own daemon at its next refresh, and so does its end", async () => {
  const upkeep = settings();
  const [asked, owner] = [await PausedWorkers.open(upkeep), await PausedWorkers.open(upkeep)];
  expect(await asked.set(worker, { paused: true, at })).toBe(true);
  await owner.refresh();
  expect([owner.has(worker), owner.since(worker)]).toEqual([true, at]);
  expect(await owner.set(worker, { paused: true, at: asInstant(9000) })).toBe(false);
  expect(owner.since(worker)).toBe(at);
  expect(await asked.set(worker, { paused: false, at })).toBe(true);
  await owner.refresh();
  expect(owner.has(worker)).toBe(false);
});

test("what the first version wrote down is still paused", async () => {
  const paused = await PausedWorkers.open(settings('["host-one/commands@data"]'));
  expect([paused.has(worker), paused.since(worker)]).toEqual([true, null]);
});
