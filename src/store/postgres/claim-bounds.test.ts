import { expect, test } from "vitest";
import { asJobId } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";
import { ClaimBounds, type QueuePlace } from "./claim-bounds.ts";

const at = (ms: number) => asInstant(1_000_000 + ms);
const place = (priority: number, jobId: number): QueuePlace => ({ priority, jobId: asJobId(jobId) });

/** Bounds of queue 1, after a claim that took all up to this place. */
function boundedAt(taken: QueuePlace): ClaimBounds {
  const bounds = new ClaimBounds();
  bounds.took(1, { place: taken, since: bounds.version, now: at(0) });
  return bounds;
}

test("each queue is read from behind what was taken of it, the others from their beginning", () => {
  const bounds = boundedAt(place(0, 5));
  expect(bounds.of(1, at(1))).toEqual(place(0, 5));
  expect(bounds.of(2, at(1))).toBeUndefined();
});

test("a place only moves on, in the order of priority before job", () => {
  const bounds = boundedAt(place(0, 5));
  const { version } = bounds;
  for (const [taken, then] of [
    [place(0, 4), place(0, 5)],
    [place(-1, 9), place(0, 5)],
    [place(0, 6), place(0, 6)],
    [place(1, 2), place(1, 2)],
  ] as const) {
    bounds.took(1, { place: taken, since: version, now: at(1) });
    expect(bounds.of(1, at(1))).toEqual(then);
  }
});

test("a queue is read from its beginning once a second, however many claims are made of it", () => {
  const bounds = boundedAt(place(0, 5));
  bounds.took(1, { place: place(0, 6), since: bounds.version, now: at(900) });
  expect(bounds.of(1, at(999))).toEqual(place(0, 6));
  expect(bounds.of(1, at(1_000))).toBeUndefined();
});

test("a clock that was set back keeps no place for longer", () => {
  expect(boundedAt(place(0, 5)).of(1, at(-5_000))).toBeUndefined();
});

test("a hint of jobs drops all places, no other hint does", () => {
  const bounds = boundedAt(place(0, 5));
  for (const hint of ["blocked", "outbox", "leases", "workers", "scheduled", "items"] as const) bounds.hear(hint);
  expect(bounds.of(1, at(1))).toEqual(place(0, 5));
  bounds.hear("jobs");
  expect(bounds.of(1, at(1))).toBeUndefined();
});

test("a claim that was built before the hint sets no place: it has not seen what came", () => {
  const bounds = new ClaimBounds();
  const since = bounds.version;
  bounds.hear("jobs");
  bounds.took(1, { place: place(0, 5), since, now: at(0) });
  expect(bounds.of(1, at(1))).toBeUndefined();
});
