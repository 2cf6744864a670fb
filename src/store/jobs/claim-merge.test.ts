import { expect, test } from "vitest";
import { asJobId } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";
import { inOrder, mergeClaim, type QueuePick } from "./claim-merge.ts";
import { firstChecks } from "./claim-rules.ts";

const pick = (jobs: readonly (readonly [number, number])[], overrides: Partial<QueuePick> = {}): QueuePick => ({
  kind: "handler",
  slotKey: null,
  jobs: jobs.map(([priority, id]) => [priority, asJobId(id)] as const),
  ...overrides,
});

test("the best of all queues are taken, those of equal priority by age", () => {
  const merged = mergeClaim({
    picks: [
      pick([
        [0, 1],
        [5, 2],
      ]),
      pick([
        [0, 3],
        [1, 4],
      ]),
    ],
    free: new Map(),
    max: 3,
    startNow: 0,
  });
  expect(merged.order).toEqual([1, 3, 4]);
  expect(merged.shares).toEqual([
    { queue: 0, count: 1, started: 0 },
    { queue: 1, count: 2, started: 0 },
  ]);
});

test("a full slot lets the jobs behind it pass, and slots come in the order of their keys", () => {
  const picks = [
    pick(
      [
        [0, 1],
        [0, 2],
      ],
      { slotKey: "z" },
    ),
    pick([[0, 3]], { slotKey: "a" }),
    pick([[9, 4]]),
    pick([[1, 5]], { slotKey: "z" }),
  ];
  const merged = mergeClaim({
    picks,
    free: new Map([
      ["z", 1],
      ["a", 4],
    ]),
    max: 10,
    startNow: 0,
  });
  expect(merged.order).toEqual([1, 3, 4]);
  expect(merged.slots).toEqual([
    ["a", 1],
    ["z", 1],
  ]);
});

test("only handlers start with their claim, the first ones", () => {
  const picks = [
    pick([
      [0, 1],
      [0, 4],
    ]),
    pick([[0, 2]], { kind: "command" }),
    pick([[0, 3]]),
  ];
  const { shares } = mergeClaim({ picks, free: new Map(), max: 10, startNow: 2 });
  expect(shares).toEqual([
    { queue: 0, count: 2, started: 1 },
    { queue: 1, count: 1, started: 0 },
    { queue: 2, count: 1, started: 1 },
  ]);
});

test("runs written queue by queue come back in the order of their jobs", () => {
  const runs = [{ jobId: asJobId(3) }, { jobId: asJobId(1) }, { jobId: asJobId(2) }];
  expect(inOrder(runs, [asJobId(1), asJobId(2), asJobId(3)]).map((run) => run.jobId)).toEqual([1, 2, 3]);
});

test("a run is first looked at when the earliest of its limits could have passed", () => {
  const at = asInstant(1_000);
  expect(firstChecks.firstCheckAt(at, { maxRunningMs: 500_000 })).toBe(501_000);
  expect(firstChecks.firstCheckAt(at, { maxRunningMs: 500_000, timeoutMs: 100_000 })).toBe(161_000);
  // Without a beat a run is hung after twice the timeout, with one after one: never later than the first, never before it could be silent.
  const beating = firstChecks.firstCheckAt(at, { maxRunningMs: 500_000, timeoutMs: 100_000, heartbeatTimeoutMs: 10_000 });
  expect(beating).toBeGreaterThan(11_000);
  expect(beating).toBeLessThanOrEqual(21_000);
});
