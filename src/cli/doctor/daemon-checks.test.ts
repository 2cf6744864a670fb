import { expect, test } from "vitest";
import type { LoopWire } from "../../protocol/api/loops.ts";
import type { StoreCheckWire } from "../../protocol/api/status.ts";
import { checkLoops, checkStored } from "./daemon-checks.ts";
import type { DoctorFinding } from "./finding.ts";

const sound: StoreCheckWire = {
  integrity: [],
  breaches: [],
  now: 0,
  newestAt: 1000,
  sizeBytes: 1,
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

test("a loop that is stuck, fails or is switched off is told", () => {
  expect(checkLoops([loop], 101_000).map(({ level }) => level)).toEqual(["ok"]);
  expect(checkLoops([loop], 111_000)[0]).toMatchObject({ level: "problem", text: "has not ended a tick for 11 s, every 1 s is its rule" });
  expect(checkLoops([{ ...loop, lastError: "gone", lastSuccessAt: 1 }], 101_000)[0]?.text).toBe("its last tick failed: gone");
  expect(checkLoops([{ ...loop, lastError: "gone", lastSuccessAt: 100_000 }], 101_000)[0]?.level).toBe("ok");
  expect(checkLoops([{ ...loop, enabled: false, lastRunAt: null }], 101_000)[0]?.level).toBe("warning");
});
