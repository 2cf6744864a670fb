import { expect, test } from "vitest";
import { LiveSettings } from "./live-settings.ts";
import { ConfigError } from "./mistake.ts";
import { configSchema } from "./schema.ts";

const live = (options?: ConstructorParameters<typeof LiveSettings>[1]) => new LiveSettings(configSchema.parse({}), options);

test("a change is seen by the next read, and only what it names changes [B-68]", () => {
  const settings = live();
  const before = settings.read();
  settings.update({
    reaper: { deadTicks: 3, enabled: false },
    leases: { reclaimEnabled: false },
    loops: { reconciler: { enabled: false } },
  });
  expect(settings.read().reaper).toEqual({ ...before.reaper, deadTicks: 3, enabled: false });
  expect(settings.read().leases).toEqual({ reclaimEnabled: false, scope: [] });
  expect(settings.read().loops).toEqual({ ...before.loops, reconciler: { enabled: false } });
  expect(before.reaper.deadTicks).toBe(2);
});

test("only the interval is fixed while the daemon runs [B-68]", () => {
  const settings = live();
  expect(() => settings.update({ reaper: { intervalMs: 50 } })).toThrow(/reaper\.intervalMs: 50 is fixed/);
  expect(settings.update({ reaper: { intervalMs: 1000 } }).reaper.intervalMs).toBe(1000);
});

test("dead ticks below 1 and unknown keys are refused, and nothing of the change is taken over [B-23]", () => {
  const settings = live();
  const before = settings.read();
  const patch = JSON.parse('{ "reaper": { "deadTicks": 0, "maxRuning": 5, "enabled": false } }') as Parameters<typeof settings.update>[0];
  expect(() => settings.update(patch)).toThrow(ConfigError);
  expect(() => settings.update(patch)).toThrow(/2 mistakes[\s\S]*did you mean "maxRunningMs"/);
  expect(settings.read()).toBe(before);
});

test("a grace of 0 is legal [B-19]", () => {
  expect(live().update({ reaper: { finalizeGraceMs: 0 } }).reaper.finalizeGraceMs).toBe(0);
});

test("relations to what does not change are asked too [B-31]", () => {
  const settings = live({
    check: ({ reaper }) =>
      reaper.maxRunningMs > 5000 ? [] : [{ path: ["reaper", "maxRunningMs"], value: reaper.maxRunningMs, rule: "must be greater" }],
  });
  expect(() => settings.update({ reaper: { maxRunningMs: 5000 } })).toThrow(/must be greater/);
  expect(settings.update({ reaper: { maxRunningMs: 5001 } }).reaper.maxRunningMs).toBe(5001);
});

test("a hostile change pollutes no object", () => {
  const settings = live();
  expect(() => settings.update(JSON.parse('{ "__proto__": { "polluted": true } }') as object)).toThrow(ConfigError);
  expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
});

test("what is read cannot be changed in place", () => {
  expect(Object.isFrozen(live().read().reaper)).toBe(true);
});
