import { expect, test, vi } from "vitest";
import type { Emit } from "../telemetry/events.ts";
import { alertsThrough } from "./raise-alert.ts";

const alert = { cause: "stuck:handlers", title: "All 4 handlers are stuck", details: { runIds: [7] } };
const stored = { kind: "alert", key: "stuck:handlers", payload: JSON.stringify({ runIds: [7], title: alert.title }) };

test("an alert goes to the outbox, whose delivery emits it", async () => {
  const put = vi.fn(async () => undefined);
  const emit = vi.fn<Emit>();
  expect(await alertsThrough({ outbox: { put }, emit })(alert)).toBe(true);
  expect(put).toHaveBeenCalledExactlyOnceWith(stored);
  expect(emit).not.toHaveBeenCalled();
});

test("without a delivering loop in the process an alert is emitted at once as well", async () => {
  const put = vi.fn(async () => undefined);
  const emit = vi.fn<Emit>();
  await alertsThrough({ outbox: { put }, emit, tellsHere: true })(alert);
  expect(put).toHaveBeenCalledTimes(1);
  expect(emit).toHaveBeenCalledExactlyOnceWith("alert.raised", alert);
});

test("when the store refuses an alert, an event says so, and the caller learns of it", async () => {
  const emit = vi.fn<Emit>();
  const put = vi.fn(async () => await Promise.reject(new Error("the disk is full")));
  expect(await alertsThrough({ outbox: { put }, emit })(alert)).toBe(false);
  expect(emit).toHaveBeenCalledExactlyOnceWith("alert.raised", { ...alert, details: { runIds: [7], notStored: "the disk is full" } });
});
