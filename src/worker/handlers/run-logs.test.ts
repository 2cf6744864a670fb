import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFifo } from "../../../test/support/fifo.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { asRunId } from "../../domain/ids.ts";
import { dataPaths } from "../../files/data-paths.ts";
import { RunLogs } from "./run-logs.ts";

const setUp = (options: { readonly gatheredMax?: number } = {}) => {
  const dataDir = tempDir("logs");
  const logs = new RunLogs({ paths: dataPaths(dataDir), gatherMs: 60_000, ...options });
  return { dataDir, logs, read: (run: number) => readFileSync(join(dataDir, "runs", String(run), "stdout.log"), "utf8") };
};

const run = (id: number, maxBytes = 1_000_000) => ({ runId: asRunId(id), maxBytes });

test("lines are appended in order, each run to its own log", async () => {
  const { logs, read } = setUp();
  logs.log(run(1), "a");
  logs.log(run(2), "b");
  logs.log(run(1), "c");
  await logs.flush();
  logs.log(run(1), "d");
  await logs.flush();
  expect([read(1), read(2)]).toEqual(["a\nc\nd\n", "b\n"]);
});

test("each log is cut at the size that its stage sets, keeps its newest lines, and says how much is gone", async () => {
  const { logs, read } = setUp();
  for (let n = 0; n < 300; n++) {
    for (const [id, maxBytes] of [
      [1, 4096],
      [2, 8192],
      [3, 1_000_000],
    ] as const)
      logs.log(run(id, maxBytes), `${n} ${"x".repeat(95)}`);
    await logs.flush();
  }
  expect(read(3)).toHaveLength(300 * 97 + 10 + 90 * 2 + 200 * 3);
  for (const [id, maxBytes] of [
    [1, 4096],
    [2, 8192],
  ] as const) {
    const text = read(id);
    expect(text.length).toBeLessThanOrEqual(maxBytes);
    expect(text.length, "half of it is kept").toBeGreaterThanOrEqual(maxBytes / 2 - 100);
    expect(text.endsWith(`299 ${"x".repeat(95)}\n`)).toBe(true);
    const lost = new RegExp(`^\\[wakeful\\] (\\d+) bytes of older output were dropped here \\(log\\.maxBytes is ${maxBytes}\\)\n`).exec(
      text,
    );
    expect(Number(lost?.[1]) + text.length - (lost?.[0].length ?? 0), "what is lost and what is kept are all that was said").toBe(
      read(3).length,
    );
  }
});

test("lines that come faster than they can be written are dropped, and the log says how many and where", async () => {
  const { logs, read } = setUp({ gatheredMax: 20 });
  logs.log(run(1), "first");
  logs.log(run(1), "y".repeat(30));
  logs.log(run(1), "z".repeat(30));
  logs.log(run(1), "short");
  logs.log(run(1), "w".repeat(30));
  await logs.flush();
  logs.log(run(1), "again");
  await logs.flush();
  expect(read(1)).toBe(
    [
      "first",
      "[wakeful] 2 lines were dropped here: they came faster than they could be written",
      "short",
      "[wakeful] 1 lines were dropped here: they came faster than they could be written",
      "again\n",
    ].join("\n"),
  );
});

test("a log that cannot be written disturbs nobody, and a link in its place is not followed", async () => {
  const { dataDir, logs, read } = setUp();
  mkdirSync(join(dataDir, "runs", "3"), { recursive: true });
  writeFileSync(join(dataDir, "runs", "1"), "in the way");
  writeFileSync(join(dataDir, "precious"), "x");
  symlinkSync(join(dataDir, "precious"), join(dataDir, "runs", "3", "stdout.log"));
  logs.log(run(1), "lost");
  logs.log(run(3), "astray");
  logs.log(run(2), "kept");
  logs.log(run(2), { not: "text" });
  await logs.flush();
  expect(read(2)).toBe("kept\n(a log line that is a object)\n");
  expect(readFileSync(join(dataDir, "precious"), "utf8")).toBe("x");
});

test("a FIFO in a log's place holds no other log", async () => {
  const { dataDir, logs, read } = setUp();
  mkdirSync(join(dataDir, "runs", "1"), { recursive: true });
  makeFifo(join(dataDir, "runs", "1", "stdout.log"));
  logs.log(run(1), "lost");
  logs.log(run(2), "kept");
  await logs.flush();
  expect(read(2)).toBe("kept\n");
});
