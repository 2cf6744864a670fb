import { expect, test } from "vitest";
import { defaultReaderLimits } from "../../liveness/old-readers.ts";
import type { LoopWire } from "../../protocol/api/loops.ts";
import type { StoreCheckWire } from "../../protocol/api/status.ts";
import { checkLoops, checkStored as checkStoredWithin } from "./daemon-checks.ts";
import type { DoctorFinding } from "./finding.ts";

const sound: StoreCheckWire = {
  integrity: [],
  breaches: [],
  now: 0,
  newestAt: 1000,
  sizeBytes: 1,
  oldReaders: { logBytes: 4_000_000, logHeld: false, readers: [] },
  outboxWaiting: 0,
  outboxDead: [],
  unstoppable: [],
};
const loop: LoopWire = {
  name: "stopper",
  enabled: true,
  running: false,
  intervalMs: 1000,
  lastRunAt: 100_000,
  lastSuccessAt: 100_000,
  lastDurationMs: 1,
  lastError: null,
  ticks: 1,
  failures: 0,
  seen: 0,
  settled: 0,
  lost: 0,
  details: {},
};
const checkStored = (found: StoreCheckWire, wall: number) => checkStoredWithin(found, wall, defaultReaderLimits);
const problems = (findings: readonly DoctorFinding[]) => findings.filter(({ level }) => level === "problem");

test("broken pages, broken invariants, a clock ahead and dead deliveries are problems", () => {
  expect(problems(checkStored(sound, 1000))).toEqual([]);
  expect(problems(checkStored({ ...sound, integrity: ["page 3"] }, 1000))[0]?.check).toBe("store");
  expect(problems(checkStored({ ...sound, breaches: [{ rule: "slots", subject: "k", found: "2 of 1" }] }, 1000))[0]?.text).toBe(
    "slots: k: 2 of 1",
  );
  expect(problems(checkStored({ ...sound, newestAt: 1000 + 3_600_000 }, 1000))).toEqual([]);
  expect(problems(checkStored({ ...sound, newestAt: 1001 + 3_600_000 }, 1000))[0]?.text).toContain("in 1 h");
  expect(problems(checkStored({ ...sound, outboxDead: [{ id: 1, kind: "alert", key: "a", error: "404" }] }, 1000))[0]?.text).toContain(
    "alert a: 404",
  );
});

test("a job whose last attempt cannot be stopped is a problem, with the way out", () => {
  const [found] = problems(
    checkStored(
      { ...sound, now: 9000, unstoppable: [{ jobId: 7, attempt: 2, attemptOf: 6, stopBy: 4000, remains: "pid 42 (sleep 9) lives on" }] },
      9000,
    ),
  );
  expect(found).toMatchObject({
    check: "job 7",
    text: "it waits for attempt 2 of job 6, which should have been stopped 5 s ago, and is not proved to be: pid 42 (sleep 9) lives on",
    remedy: expect.stringContaining("`wakeful unhold job:7 --force`"),
  });
});

const readerWho = { catalogOnly: false, remedy: "End it.", ageMs: null, transactions: null };

test("a process that reads an old state of the file is named once the log is long, and is a problem beyond the limit", () => {
  const reader = { ...readerWho, kind: "process" as const, who: "pid 4711 (sqlite3 wakeful.db)" };
  const found = (logBytes: number, logHeld: boolean) =>
    checkStored({ ...sound, oldReaders: { logBytes, logHeld, readers: [reader] } }, 1000).filter(({ check }) => check === "old readers");
  expect(found(90 * 2 ** 20, true)).toEqual([
    {
      check: "old readers",
      level: "problem",
      text: "pid 4711 (sqlite3 wakeful.db) reads an old state of the store, whose log has grown to 90 MiB",
      remedy: "End it.",
    },
  ]);
  expect(found(20 * 2 ** 20, true)[0]?.level).toBe("warning");
  expect(found(90 * 2 ** 20, false)[0]?.level).toBe("warning");
  expect(checkStored(sound, 1000)).toContainEqual({ check: "old readers", level: "ok", text: "none, the log has 3.8 MiB" });
});

test("a transaction that keeps rows from being vacuumed is named, and is a problem when it is old and holds back many", () => {
  const level = (reader: { ageMs: number | null; transactions: number; catalogOnly?: boolean }) => {
    const readers = [{ ...readerWho, kind: "session" as const, who: "session 7", ...reader }];
    return checkStored({ ...sound, oldReaders: { logBytes: null, logHeld: false, readers } }, 1000).find(
      ({ check }) => check === "old readers",
    );
  };
  expect(level({ ageMs: 360_000, transactions: 20_000 })).toMatchObject({
    level: "problem",
    text: "session 7 keeps rows from being vacuumed: open for 6 min, 20000 transactions behind",
  });
  expect(level({ ageMs: 30_000, transactions: 20_000 })?.level).toBe("warning");
  expect(level({ ageMs: 360_000, transactions: 9999 })?.level).toBe("ok");
  expect(level({ ageMs: null, transactions: 20_000 })).toMatchObject({ level: "problem", text: expect.not.stringContaining("open for") });
  expect(level({ ageMs: null, transactions: 20_000, catalogOnly: true })).toMatchObject({
    level: "ok",
    text: expect.stringContaining("the server's catalogue"),
  });
});

test("a loop that is stuck, fails or is switched off is told", () => {
  expect(checkLoops([loop], 101_000).map(({ level }) => level)).toEqual(["ok"]);
  expect(checkLoops([loop], 111_000)[0]).toMatchObject({ level: "problem", text: "has not ended a tick for 11 s, every 1 s is its rule" });
  expect(checkLoops([{ ...loop, lastError: "gone", lastSuccessAt: 1 }], 101_000)[0]?.text).toBe("its last tick failed: gone");
  expect(checkLoops([{ ...loop, lastError: "gone", lastSuccessAt: 100_000 }], 101_000)[0]?.level).toBe("ok");
  expect(checkLoops([{ ...loop, enabled: false, lastRunAt: null }], 101_000)[0]?.level).toBe("warning");
});
