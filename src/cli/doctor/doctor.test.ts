import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type ApiDaemonOptions, apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { asInstant } from "../../domain/time.ts";
import type { LoopWire } from "../../protocol/api/loops.ts";
import type { StoreCheckWire } from "../../protocol/api/status.ts";
import { checkLoops, checkStored } from "./daemon-checks.ts";
import type { DoctorFinding } from "./finding.ts";
import { checkContainer, checkDataDirectory, checkDisk, checkNode, checkPrograms } from "./host-checks.ts";

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

test.each([
  ["v20.19.0", "ok"],
  ["v22.1.0", "ok"],
  ["v20.18.9", "problem"],
  ["v18.99.0", "problem"],
])("Node %s is %s", (version, level) => {
  expect(checkNode(version).level).toBe(level);
});

test("missing programs are named", () => {
  const directory = tempDir("path");
  for (const name of ["sh", "mkfifo", "sync", "mv", "nice"]) {
    writeFileSync(join(directory, name), "");
    chmodSync(join(directory, name), 0o755);
  }
  expect(checkPrograms(directory, "darwin").level).toBe("ok");
  expect(checkPrograms(directory, "linux")).toMatchObject({ level: "problem", text: expect.stringContaining("setsid is not in PATH") });
});

test("a data directory or token that others may read is a problem with its cure", () => {
  const dataDir = tempDir("data");
  const uid = process.getuid?.();
  expect(checkDataDirectory({ dataDir, uid }).level).toBe("ok");
  chmodSync(dataDir, 0o750);
  expect(checkDataDirectory({ dataDir, uid })).toMatchObject({ level: "problem", remedy: `\`chmod 700 ${dataDir}\`` });
  chmodSync(dataDir, 0o700);
  expect(checkDataDirectory({ dataDir, uid: (uid ?? 0) + 1 }).level).toBe("problem");
  mkdirSync(join(dataDir, "tokens"));
  writeFileSync(join(dataDir, "tokens", "admin"), "x", { mode: 0o644 });
  expect(checkDataDirectory({ dataDir, uid })).toMatchObject({ level: "problem", text: expect.stringContaining("can be read by others") });
  expect(checkDataDirectory({ dataDir: join(dataDir, "none"), uid }).level).toBe("warning");
});

test("a full disk and missing ballast are told", async () => {
  const dataDir = tempDir("data");
  const levels = async (minFreeBytes: number, ballastBytes: number) =>
    (await checkDisk({ dataDir, disk: { minFreeBytes, ballastBytes } })).map(({ level }) => level);
  expect(await levels(0, 1)).toEqual(["ok", "warning"]);
  expect(await levels(Number.MAX_SAFE_INTEGER, 1)).toEqual(["problem", "warning"]);
  writeFileSync(join(dataDir, "ballast"), "1");
  expect(await levels(0, 1)).toEqual(["ok", "ok"]);
  expect(await levels(0, 0)).toEqual(["ok", "warning"]);
});

test("adoption in a container is told for what it is", () => {
  expect(checkContainer({ recovery: { adoption: true, recoverySpreadMs: 0 } }, true).level).toBe("warning");
  expect(checkContainer({ recovery: { adoption: false, recoverySpreadMs: 0 } }, true).level).toBe("ok");
  expect(checkContainer({ recovery: { adoption: true, recoverySpreadMs: 0 } }, false).level).toBe("ok");
});

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

test("the doctor of a healthy daemon exits with 0, and that of a sick one with 3", async () => {
  const look = async (options: ApiDaemonOptions) => {
    const daemon = await apiDaemon(options);
    const cwd = tempDir("doctor");
    mkdirSync(join(cwd, "data"), { mode: 0o700 });
    return cli(["doctor", "--json"], { cwd, daemon, env: { PATH: process.env["PATH"] ?? "" } });
  };
  const healthy = await look({});
  expect([healthy.code, JSON.parse(healthy.out)]).toMatchObject([0, { healthy: true }]);
  const sick = await look({
    reasons: ["the disk is full"],
    snapshots: [{ ...loop, name: "stopper", lastRunAt: asInstant(1), lastSuccessAt: asInstant(1), details: {} }],
  });
  expect([sick.code, sick.out]).toEqual([3, expect.stringContaining("takes no new work: the disk is full")]);
  expect(sick.out).toContain("has not ended a tick");
});
