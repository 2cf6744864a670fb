import { expect, test } from "vitest";
import { at, runFacts } from "../../test/support/judged-run.ts";
import type { RunFacts } from "./evidence.ts";
import { type LookFindings, nextCheckAt } from "./run-check-time.ts";
import { defaultRunThresholds } from "./run-thresholds.ts";

/** Seconds after the start at which a run is to be looked at. */
const due = (run: Partial<RunFacts>, found?: LookFindings) => (nextCheckAt(runFacts(run), defaultRunThresholds, found) - at(0)) / 1000;

test("a run that has exited is looked at when its grace is over, or at its ceiling", () => {
  const exited = { state: "exited", exitCode: 0, exitedAt: at(100) } as const;
  expect(due(exited)).toBe(400);
  expect(due({ ...exited, limits: { maxRunningMs: 200_000 } })).toBe(200);
  const half = { state: "exited", limits: { maxRunningMs: 900_000 } } as const;
  expect([due({ ...half, exitCode: 0 }), due({ ...half, exitedAt: at(100) })]).toEqual([900, 900]);
});

test("a gate that was unreadable is read again when it is due, at the latest when its patience is over", () => {
  const pending = { state: "exited", exitCode: 0, exitedAt: at(100), gatePendingAt: at(110) } as const;
  expect(due(pending), "at once, where nobody says when").toBe(100);
  expect([120, 9000].map((second) => due({ ...pending, gateReadAgainAt: at(second) }))).toEqual([120, 710]);
});

test("a reserved run is looked at when its session may be silent, or it may be unnamed for too long", () => {
  const reserved = {
    state: "reserved",
    startedAt: undefined,
    reservedAt: at(5),
    session: { heardAt: at(20), channel: "throughMe" },
  } as const;
  expect(due(reserved)).toBe(35);
  expect(due(reserved, { namedAt: at(15) })).toBe(45);
  expect(due(reserved, { namedAt: at(25) })).toBe(50);
});

test("a started run is looked at when its session may be silent; one that was proved alive ten minutes later", () => {
  expect(due({})).toBe(30);
  expect(due({}, { provedAlive: true })).toBe(600);
  expect(due({}, { provedAlive: true, lookedAt: at(100) })).toBe(700);
});

test("progress is missed a moment after its timeout: from the newest sign, else from the look, else twice as long after the start", () => {
  const found = { provedAlive: true, lookedAt: at(10) };
  const limits = { heartbeatTimeoutMs: 100_000 };
  expect(due({ limits, lastProgressAt: at(50) }, found)).toBe(150.001);
  expect(due({ limits }, found)).toBe(110.001);
  expect(due({ limits }, { provedAlive: true, lookedAt: at(150) })).toBe(200);
  expect(due({ limits, lastProgressAt: at(-1) }, { provedAlive: true, lookedAt: at(-5) }), "another run's progress").toBe(100.001);
});

test("a timeout is the reaper's a minute and a moment after it is over, suspended time left out", () => {
  const timed = { limits: { timeoutMs: 100_000 } };
  expect(due(timed, { provedAlive: true })).toBe(160.001);
  expect(due({ ...timed, suspendedMs: 50_000 }, { provedAlive: true })).toBe(210.001);
  expect(due({ limits: { maxRunningMs: 100_000 }, suspendedMs: 50_000 }, { provedAlive: true })).toBe(150);
});
