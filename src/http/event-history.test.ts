import { expect, test } from "vitest";
import { asWorkerId } from "../domain/ids.ts";
import { asInstant } from "../domain/time.ts";
import { EventBus } from "../telemetry/event-bus.ts";
import { EventHistory } from "./event-history.ts";

function history(capacity: number) {
  const bus = new EventBus(
    () => asInstant(5),
    (thrown) => {
      throw thrown;
    },
  );
  const kept = new EventHistory({ bus, startSeq: 3, capacity });
  return { kept, emit: (id: number) => bus.emit("worker.left", { workerId: asWorkerId(id) }) };
}

const idsOf = (missed: ReturnType<EventHistory["since"]>) => missed.events.map(({ id }) => id);

test("a client that resumes gets exactly what came after its last event", () => {
  const { kept, emit } = history(10);
  for (const id of [1, 2, 3]) emit(id);
  expect([kept.since("3.1").gap, idsOf(kept.since("3.1"))]).toEqual([undefined, ["3.2", "3.3"]]);
  expect([kept.since("3.3").gap, idsOf(kept.since("3.3"))]).toEqual([undefined, []]);
});

test("a client that resumes too late is told how many it missed", () => {
  const { kept, emit } = history(2);
  for (const id of [1, 2, 3, 4, 5]) emit(id);
  expect([kept.since("3.1").gap, idsOf(kept.since("3.1"))]).toEqual([{ missed: 2 }, ["3.4", "3.5"]]);
});

test.each(["2.1", "3.99", "nonsense", "", "-1.2", "3.1e1"])(
  "the last id %j is of another start or of none: a gap of unknown size",
  (id) => {
    const { kept, emit } = history(2);
    emit(1);
    expect([kept.since(id).gap, idsOf(kept.since(id))]).toEqual([{ missed: null }, ["3.1"]]);
  },
);

test("a client that saw nothing yet resumes from where it connected", () => {
  const { kept, emit } = history(2);
  const before = kept.newestId;
  emit(1);
  expect(idsOf(kept.since(before))).toEqual(["3.1"]);
});
