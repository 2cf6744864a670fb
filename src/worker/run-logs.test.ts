import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { asRunId } from "../domain/ids.ts";
import { RunLogs } from "./run-logs.ts";
import { dataPaths } from "./run-paths.ts";

const setUp = (maxBytes?: number) => {
  const dataDir = tempDir("logs");
  const logs = new RunLogs({ paths: dataPaths(dataDir), gatherMs: 60_000, ...(maxBytes === undefined ? {} : { maxBytes }) });
  return { dataDir, logs, read: (run: number) => readFileSync(join(dataDir, "runs", String(run), "stdout.log"), "utf8") };
};

test("lines are appended in order, each run to its own log", async () => {
  const { logs, read } = setUp();
  logs.log(asRunId(1), "a");
  logs.log(asRunId(2), "b");
  logs.log(asRunId(1), "c");
  await logs.flush();
  logs.log(asRunId(1), "d");
  await logs.flush();
  expect([read(1), read(2)]).toEqual(["a\nc\nd\n", "b\n"]);
});

test("a log does not grow past its bound, and says so", async () => {
  const { logs, read } = setUp(100);
  for (let n = 0; n < 5; n++) {
    logs.log(asRunId(1), "x".repeat(60));
    await logs.flush();
  }
  const text = read(1);
  expect(text).toContain("more than 100 bytes");
  expect(text.length).toBeLessThan(200);
});

test("a log that cannot be written disturbs nobody", async () => {
  const { dataDir, logs, read } = setUp();
  mkdirSync(join(dataDir, "runs"));
  writeFileSync(join(dataDir, "runs", "1"), "in the way");
  logs.log(asRunId(1), "lost");
  logs.log(asRunId(2), "kept");
  logs.log(asRunId(2), { not: "text" });
  await logs.flush();
  expect(read(2)).toBe("kept\n(a log line that is a object)\n");
});
