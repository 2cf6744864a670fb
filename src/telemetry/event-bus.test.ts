import { expect, test } from "vitest";
import { asWorkerId } from "../domain/ids.ts";
import { asInstant } from "../domain/time.ts";
import { EventBus } from "./event-bus.ts";
import type { EmittedEvent } from "./events.ts";

function listened() {
  const thrown: unknown[] = [];
  const bus = new EventBus(
    () => asInstant(5),
    (each) => void thrown.push(each),
  );
  const seen: EmittedEvent[] = [];
  return { bus, seen, thrown };
}

test("durations are told in whole milliseconds, also in an alert's details, and nothing else is rounded", () => {
  const { bus, seen } = listened();
  bus.subscribe((event) => void seen.push(event));
  bus.emit("loop.late", { loop: "scheduler", sinceMs: 101.6 });
  bus.emit("alert.raised", { cause: "x", title: "x", details: { heldMs: 0.4, load: 0.4 } });
  expect(seen.map(({ data }) => data)).toEqual([
    { loop: "scheduler", sinceMs: 102 },
    { cause: "x", title: "x", details: { heldMs: 0, load: 0.4 } },
  ]);
});

test("a subscriber that throws hurts neither the emitter nor those behind it", () => {
  const { bus, seen, thrown } = listened();
  const defect = new Error("a subscriber's defect");
  bus.subscribe(() => {
    throw defect;
  });
  bus.subscribe((event) => void seen.push(event));
  bus.emit("worker.left", { workerId: asWorkerId(1) });
  expect([seen, thrown]).toEqual([[{ name: "worker.left", at: 5, data: { workerId: 1 } }], [defect]]);
});

test("whoever has stopped listening hears nothing more", () => {
  const { bus, seen } = listened();
  const stop = bus.subscribe((event) => void seen.push(event));
  stop();
  bus.emit("worker.left", { workerId: asWorkerId(1) });
  expect(seen).toEqual([]);
});
