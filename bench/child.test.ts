import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../test/support/temp-dir.ts";
import { until } from "../test/support/until.ts";
import { runChild } from "./child.ts";

const never = new AbortController().signal;

const isAlive = (pid: number): boolean => {
  try {
    // A process that has ended and was not waited for yet is a zombie.
    return process.kill(pid, 0) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    // Gone.
    return false;
  }
};

test("a program that ends is told by its code and what it printed", async () => {
  const cwd = tempDir("child");
  const end = await runChild("sh", ["-c", "pwd; echo wrong >&2; exit 3"], { cwd, signal: never, timeoutMs: 10_000 });
  expect(end).toEqual({ code: 3, out: `${cwd}\n`, err: "wrong\n" });
});

test("an interruption ends the program by one SIGTERM, and what it left behind", async () => {
  const cwd = tempDir("child");
  const interrupt = new AbortController();
  const script = `
    const { appendFileSync, renameSync, writeFileSync } = require("node:fs");
    process.on("SIGTERM", () => { appendFileSync("terms", "term "); process.exit(0); });
    const left = require("node:child_process").spawn("sleep", ["600"]);
    writeFileSync("pid.new", String(left.pid));
    renameSync("pid.new", "pid");`;
  const running = runChild(process.execPath, ["-e", script], { cwd, signal: interrupt.signal, timeoutMs: 60_000 });
  const ended = running.then(
    () => "answered",
    (thrown: unknown) => String(thrown),
  );
  await until(() => existsSync(join(cwd, "pid")));
  interrupt.abort(new Error("enough"));
  expect(await ended).toBe("Error: enough");
  expect(readFileSync(join(cwd, "terms"), "utf8")).toBe("term ");
  await until(() => !isAlive(Number(readFileSync(join(cwd, "pid"), "utf8"))));
});

test("a program that does not end in its time is ended and named", async () => {
  const cwd = tempDir("child");
  writeFileSync(join(cwd, "hang"), "#!/bin/sh\necho $$ > pid\nexec sleep 600\n", { mode: 0o755 });
  await expect(runChild(join(cwd, "hang"), [], { cwd, signal: never, timeoutMs: 1000 })).rejects.toThrow("hang did not end within 1 s");
  // On a busy machine it may be killed before it writes a line.
  const pid = join(cwd, "pid");
  await until(() => !existsSync(pid) || !isAlive(Number(readFileSync(pid, "utf8"))));
});

test("nothing is started after an interruption", async () => {
  const cwd = tempDir("child");
  await expect(runChild("touch", ["made"], { cwd, signal: AbortSignal.abort(new Error("enough")), timeoutMs: 1000 })).rejects.toThrow(
    "enough",
  );
  expect(existsSync(join(cwd, "made"))).toBe(false);
});

test("a program that does not exist is an error and no hanging call", async () => {
  const cwd = tempDir("child");
  await expect(runChild(join(cwd, "none"), [], { cwd, signal: never, timeoutMs: 1000 })).rejects.toMatchObject({ code: "ENOENT" });
});
