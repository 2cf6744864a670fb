import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, closeSync, existsSync, openSync, readFileSync, statSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeFifo } from "../../test/support/fifo.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { until } from "../../test/support/until.ts";
import { cleanStart, limitLog } from "./log-limit.ts";

const lossPattern = /^\[wakeful\] (\d+) bytes of older output were dropped here \(log\.maxBytes is 4096\)\n/;

test("a log within its limit, or none, is left alone", async () => {
  const path = join(tempDir(), "log");
  expect(await limitLog({ path, maxBytes: 4096 })).toEqual({ truncated: false, droppedBytes: 0, sizeBytes: 0 });
  writeFileSync(path, "x".repeat(4096));
  expect(await limitLog({ path, maxBytes: 4096 })).toEqual({ truncated: false, droppedBytes: 0, sizeBytes: 4096 });
});

test("a long log keeps its newest whole lines behind a line that notes the loss, and stays the same file", async () => {
  const path = join(tempDir(), "log");
  const text = Array.from({ length: 1000 }, (_, n) => `line ${n}\n`).join("");
  writeFileSync(path, text);
  const { ino } = statSync(path);
  const result = await limitLog({ path, maxBytes: 4096 });
  const after = readFileSync(path, "utf8");
  expect(statSync(path).ino).toBe(ino);
  expect(result).toMatchObject({ truncated: true, sizeBytes: after.length });
  const kept = after.replace(lossPattern, "");
  expect(text.endsWith(kept)).toBe(true);
  expect(kept).toMatch(/^line \d+\n/);
  expect(kept.length).toBeLessThanOrEqual(2048);
  expect(Number(lossPattern.exec(after)?.[1])).toBe(text.length - kept.length);
  expect(result.droppedBytes).toBe(text.length - kept.length);
});

test("repeated losses add up", async () => {
  const path = join(tempDir(), "log");
  const line = `${"y".repeat(99)}\n`;
  writeFileSync(path, line.repeat(100));
  await limitLog({ path, maxBytes: 4096 });
  appendFileSync(path, line.repeat(100));
  await limitLog({ path, maxBytes: 4096 });
  const after = readFileSync(path, "utf8");
  const kept = after.replace(lossPattern, "");
  expect(kept).not.toContain("[wakeful]");
  expect(Number(lossPattern.exec(after)?.[1])).toBe(200 * line.length - kept.length);
});

test("output without a line end is cut between characters", async () => {
  const path = join(tempDir(), "log");
  writeFileSync(path, "€".repeat(3001));
  await limitLog({ path, maxBytes: 4096 });
  const kept = readFileSync(path, "utf8").replace(lossPattern, "");
  expect(kept).toMatch(/^€+$/);
  expect(kept.length).toBeGreaterThan(600);
  expect(cleanStart(Buffer.from([0x82, 0xac, 0x61]))).toBe(2);
  expect(cleanStart(Buffer.from("abc\n"))).toBe(0);
});

test("a writer with O_APPEND goes on behind the cut", async () => {
  const path = join(tempDir(), "log");
  const fd = openSync(path, "a");
  onTestFinished(() => closeSync(fd));
  writeSync(fd, "old\n".repeat(3000));
  await limitLog({ path, maxBytes: 4096 });
  writeSync(fd, "new\n");
  expect(readFileSync(path, "utf8").endsWith("old\nnew\n")).toBe(true);
  expect(readFileSync(path, "latin1")).not.toContain("\0");
});

test("while a process keeps writing, the log stays bounded and whole, in order and with the newest at its end", async () => {
  const dir = tempDir();
  const path = join(dir, "log");
  const fd = openSync(path, "a");
  makeFifo(join(dir, "gate"));
  // It writes until it was cut some times. The last line waits for the last cut: what is written in the instant of a cut may be lost.
  const script = "i=0; while [ ! -e enough ]; do echo line $i; i=$((i+1)); done; : > done; read line < gate; echo end";
  const child = spawn("sh", ["-c", script], { cwd: dir, stdio: ["ignore", fd, "inherit"] });
  closeSync(fd);
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended = once(child, "exit");
  let cuts = 0;
  await until(
    async () => {
      if ((await limitLog({ path, maxBytes: 4096 })).truncated) cuts += 1;
      if (cuts > 3) writeFileSync(join(dir, "enough"), "");
      return existsSync(join(dir, "done"));
    },
    { everyMs: 1 },
  );
  await limitLog({ path, maxBytes: 4096 });
  writeFileSync(join(dir, "gate"), "go\n");
  await ended;
  const lines = readFileSync(path, "latin1").replace(lossPattern, "").trimEnd().split("\n");
  expect(lines.at(-1)).toBe("end");
  const numbers = lines.slice(0, -1).map((line) => /^line (\d+)$/.exec(line)?.[1]);
  expect(numbers).not.toContain(undefined);
  expect(numbers.map(Number)).toEqual(numbers.map(Number).sort((a, b) => a - b));
});

test("a limit that leaves no room is refused", async () => {
  await expect(limitLog({ path: "/dev/null", maxBytes: 100 })).rejects.toThrow(RangeError);
});

test.each(["a link", "a FIFO"])("%s in a log's place is not followed, and holds nobody", async (what) => {
  const dir = tempDir("limit");
  const [path, other] = [join(dir, "log"), join(dir, "other")];
  writeFileSync(other, "x".repeat(10_000));
  if (what === "a link") symlinkSync(other, path);
  else makeFifo(path);
  await expect(limitLog({ path, maxBytes: 4096 })).rejects.toMatchObject({ code: "not_a_file" });
  expect(statSync(other).size).toBe(10_000);
});
