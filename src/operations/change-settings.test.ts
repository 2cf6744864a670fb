import { expect, test } from "vitest";
import { LiveSettings } from "../config/live-settings.ts";
import { configSchema } from "../config/schema.ts";
import type { NewAction } from "../store/port/records.ts";
import type { Emit } from "../telemetry/events.ts";
import { createSettingsEditor } from "./change-settings.ts";

const by = { actor: "ana", correlationId: "c-1" };

function desk(append?: () => Promise<void>) {
  const live = new LiveSettings(configSchema.parse({}));
  const records: NewAction[] = [];
  const told: unknown[] = [];
  const emit: Emit = (name, data) => void told.push([name, data]);
  const actions = { append: append ?? (async (entries: readonly NewAction[]) => void records.push(...entries)) };
  return { live, records, told, ...createSettingsEditor({ live, actions, emit }) };
}

test("each change is on record with who made it and what it was before, and is told", async () => {
  const { change, records, told, live } = desk();
  const changes = [
    { key: "reaper.deadTicks", from: 2, to: 3 },
    { key: "loops.intake.enabled", from: true, to: false },
  ];
  const answer = await change({ reaper: { deadTicks: 3, enabled: true }, loops: { intake: { enabled: false } } }, by);
  expect(answer).toEqual({ values: live.read(), changes });
  expect(live.read().reaper.deadTicks).toBe(3);
  expect(records).toEqual([
    {
      action: "settings.changed",
      ...by,
      message: "reaper.deadTicks 2 -> 3, loops.intake.enabled true -> false",
      evidence: JSON.stringify(changes),
    },
  ]);
  expect(told).toEqual([["settings.changed", { actor: "ana", changes }]]);
});

test("what is in force already is no change", async () => {
  const { change, records, told } = desk();
  expect((await change({ reaper: { deadTicks: 2 }, leases: { scope: [] } }, by)).changes).toEqual([]);
  expect([records, told]).toEqual([[], []]);
});

test("a change that cannot be recorded is not made, and the next one is", async () => {
  let full = true;
  const { change, live, told } = desk(async () => {
    if (full) throw new Error("the disk is full");
  });
  await expect(change({ reaper: { deadTicks: 3 } }, by)).rejects.toThrow("the disk is full");
  expect([live.read().reaper.deadTicks, told]).toEqual([2, []]);
  full = false;
  expect((await change({ reaper: { deadTicks: 4 } }, by)).changes).toEqual([{ key: "reaper.deadTicks", from: 2, to: 4 }]);
});

test("of two changes at once each sees what the other left", async () => {
  const { change, records } = desk();
  await Promise.all([change({ reaper: { deadTicks: 3 } }, by), change({ reaper: { deadTicks: 5 } }, by)]);
  expect(records.map(({ message }) => message)).toEqual(["reaper.deadTicks 2 -> 3", "reaper.deadTicks 3 -> 5"]);
});
