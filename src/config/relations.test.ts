import { expect, test } from "vitest";
import { brokenRelations } from "./relations.ts";
import { configSchema } from "./schema.ts";

const settings = configSchema.parse({});
const pathsOf = (change: {
  worker?: Partial<typeof settings.worker>;
  stop?: Partial<typeof settings.stop>;
  timeoutMs?: number;
  dev?: boolean;
}) =>
  brokenRelations({
    worker: { ...settings.worker, ...change.worker },
    stop: { ...settings.stop, ...change.stop },
    heartbeat: { timeoutMs: change.timeoutMs ?? settings.heartbeat.timeoutMs },
    dev: change.dev ?? false,
  }).map(({ path }) => path.join("."));

test("the defaults hold every relation", () => {
  expect(pathsOf({})).toEqual([]);
});

test("three renewals fit into the time before fencing", () => {
  expect(pathsOf({ worker: { renewMs: 5000, selfFenceAfterMs: 15_000 } })).toEqual([]);
  expect(pathsOf({ worker: { renewMs: 5001 } })).toEqual(["worker.selfFenceAfterMs"]);
});

test("a worker that is cut off has time to stop its runs before it is judged dead", () => {
  expect(pathsOf({ worker: { deadAfterMs: 27_001 } })).toEqual([]);
  expect(pathsOf({ worker: { deadAfterMs: 27_000 } })).toEqual(["worker.deadAfterMs"]);
  expect(pathsOf({ stop: { stopGraceMs: 8000 } })).toEqual(["worker.deadAfterMs"]);
});

test("what a worker may hold has room for all that it may execute", () => {
  expect(pathsOf({ worker: { concurrency: 200 } })).toEqual([]);
  expect(pathsOf({ worker: { concurrency: 201 } })).toEqual(["worker.outstandingMax"]);
  expect(pathsOf({ worker: { concurrency: 201, outstandingMax: 201 } })).toEqual([]);
  const [finding] = brokenRelations({ ...settings, worker: { ...settings.worker, outstandingMax: 3 }, dev: false });
  expect(finding).toMatchObject({ value: 3, rule: expect.stringContaining("must be at least worker.concurrency (4)") });
});

test("frozen commands are killed after they were frozen", () => {
  expect(pathsOf({ worker: { fenceKillAfterMs: 15_000 } })).toEqual(["worker.fenceKillAfterMs"]);
});

test("heartbeat timeouts below 60 s need --dev [A-8]", () => {
  expect(pathsOf({ timeoutMs: 60_000 })).toEqual([]);
  expect(pathsOf({ timeoutMs: 59_999 })).toEqual(["heartbeat.timeoutMs"]);
  expect(pathsOf({ timeoutMs: 15_000, dev: true })).toEqual([]);
});

test("three reports of progress fit into a heartbeat timeout, also with --dev", () => {
  expect(pathsOf({ timeoutMs: 14_999, dev: true })).toEqual(["heartbeat.timeoutMs"]);
});

test("every broken relation is a message of its own", () => {
  expect(pathsOf({ worker: { renewMs: 30_000, deadAfterMs: 1000, fenceKillAfterMs: 100 }, timeoutMs: 1000 })).toEqual([
    "worker.selfFenceAfterMs",
    "worker.deadAfterMs",
    "worker.fenceKillAfterMs",
    "heartbeat.timeoutMs",
    "heartbeat.timeoutMs",
  ]);
});
