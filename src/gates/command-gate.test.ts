import { spawn } from "node:child_process";
import { readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { gateSubject } from "../../test/support/gate-subject.ts";
import { present } from "../../test/support/present.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { until } from "../../test/support/until.ts";
import { writtenPid } from "../../test/support/written-pid.ts";
import { readCommandGate } from "./command-gate.ts";
import type { GateSubject } from "./gate-answer.ts";

let workDir: string;
const never = new AbortController().signal;

beforeEach(() => {
  workDir = tempDir("gate");
});

const command = (script: string) => [process.execPath, "-e", script];
const read = (argv: readonly string[], overrides: Partial<GateSubject> = {}) =>
  readCommandGate(argv, gateSubject(workDir, overrides), never);

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    // No such process: what is waited for.
    return true;
  }
}

test("a command gate is green at 0, red with its words at 1 to 99 and unreadable at anything else [B-43]", async () => {
  expect(await read(command("process.exit(0)"))).toEqual({ kind: "green" });
  expect(await read(command("console.log('no text on page 3'); process.exit(1)"))).toEqual({ kind: "red", reason: "no text on page 3" });
  expect(await read(command("process.exit(100)"))).toMatchObject({ kind: "unreadable" });
  expect(await read(command("process.kill(process.pid, 'SIGKILL')"))).toMatchObject({ kind: "unreadable" });
  expect(await read(["/no/such/program"])).toMatchObject({ kind: "unreadable" });
});

test.each([
  ["green", 0],
  ["red", 3],
] as const)("a check that leaves a process behind is %s as soon as it has ended, and nothing of it is left [F-2.4]", async (kind, code) => {
  // Both hold its output; one leaves group and session as well.
  const script = `sleep 600 & echo $! > plain; setsid sleep 600 & echo words; while [ ! -s plain ]; do :; done; exit ${code}`;
  const answer = await read(["sh", "-c", script]);
  expect(answer).toEqual(kind === "green" ? { kind } : { kind, reason: "words" });
  const left = await writtenPid(join(workDir, "plain"));
  await until(() => isGone(left), { what: "it to be gone" });
});

test("what left group, session and output of a check is found by its marker, whatever else runs [F-2.4]", async () => {
  const script = "setsid sh -c 'echo $$ > apart; exec sleep 600' > /dev/null 2>&1 & while [ ! -s apart ]; do :; done";
  const other = spawn("sleep", ["600"], { env: { PATH: process.env["PATH"], WAKEFUL_GATE_MARKER: "of another reading" } });
  onTestFinished(() => void other.kill("SIGKILL"));
  expect(await read(["sh", "-c", script])).toEqual({ kind: "green" });
  const left = await writtenPid(join(workDir, "apart"));
  await until(() => isGone(left), { what: "it to be gone" });
  expect(isGone(present(other.pid))).toBe(false);
});

test("a command gate whose reading is ended is unreadable, and what it started is killed", async () => {
  const end = new AbortController();
  const path = join(workDir, "pid");
  const script = `require("fs").writeFileSync(${JSON.stringify(path)}, String(process.pid)); setInterval(() => {}, 1000)`;
  const answer = readCommandGate(command(script), gateSubject(workDir), end.signal);
  const pid = await writtenPid(path);
  end.abort();
  expect(await answer).toEqual({ kind: "unreadable", error: "the reading was interrupted" });
  await until(() => (isGone(pid) ? true : undefined));
});

test("what a gate command says is in the run's log, whatever its answer, behind what was there; its reason says when it is only the beginning", async () => {
  const path = join(workDir, "stderr.log");
  await writeFile(path, "of the run itself\n");
  const log = { path, maxBytes: 100_000 };
  expect(await read(command("console.log('all 3 pages have text')"), { log })).toEqual({ kind: "green" });
  const red = await read(command("process.stderr.write('é'.repeat(3000)); process.exitCode = 1"), { log });
  expect(red).toEqual({ kind: "red", reason: `${"é".repeat(1000)} [the first 2000 of 6000 bytes]` });
  const text = await readFile(path, "utf8");
  expect(text.startsWith("of the run itself\n[wakeful] the gate ")).toBe(true);
  expect(text).toContain("says:\nall 3 pages have text\n");
  expect(text.endsWith("é".repeat(3000))).toBe(true);
  expect(text).not.toContain("dropped");
});

test("a reading whose time ends while the log is opened begins no command", async () => {
  const stop = new AbortController();
  const log = { path: join(workDir, "stderr.log"), maxBytes: 100_000 };
  const answer = readCommandGate(command("require('node:fs').writeFileSync('ran', '')"), gateSubject(workDir, { log }), stop.signal);
  stop.abort();
  expect(await answer).toEqual({ kind: "unreadable", error: "the reading was interrupted" });
  expect(await readdir(workDir)).toEqual(["stderr.log"]);
});

test("the log of a gate's output keeps to the stage's log.maxBytes and notes what is lost", async () => {
  const path = join(workDir, "stderr.log");
  const log = { path, maxBytes: 8192 };
  const loud = command("process.stdout.write('x'.repeat(1_000_000)); process.exitCode = 1");
  expect(await read(loud, { log })).toMatchObject({ kind: "red", reason: expect.stringContaining("[the first 2000 of 1000000 bytes]") });
  const first = await readFile(path, "utf8");
  expect(first.length).toBeLessThan(8192);
  expect(first).toContain("x".repeat(4096));
  expect(first).toContain(`[wakeful] ${1_000_000 - 4096} bytes of the gate's output were dropped here (log.maxBytes is 8192)`);
  for (let again = 0; again < 3; again += 1) await read(loud, { log });
  const text = await readFile(path, "utf8");
  expect(text.length).toBeLessThanOrEqual(8192);
  expect(text).toMatch(/^\[wakeful\] \d+ bytes of older output were dropped here \(log\.maxBytes is 8192\)\n/);
  expect(text.endsWith("were dropped here (log.maxBytes is 8192)\n")).toBe(true);
});

test("a log that cannot be written, or is a link, changes no answer", async () => {
  await writeFile(join(workDir, "precious"), "x");
  await symlink(join(workDir, "precious"), join(workDir, "link.log"));
  for (const path of [join(workDir, "no/such/folder/stderr.log"), join(workDir, "link.log"), workDir]) {
    expect(await read(command("console.log('no'); process.exitCode = 2"), { log: { path, maxBytes: 4096 } })).toEqual({
      kind: "red",
      reason: "no",
    });
  }
  expect(await readFile(join(workDir, "precious"), "utf8")).toBe("x");
});
