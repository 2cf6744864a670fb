import { rmSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { makeFifo } from "../../../test/support/fifo.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { asHostId, asRunId } from "../../domain/ids.ts";
import { blankExitRecord, readEndedBy, readExitRecord } from "./exit-record.ts";
import { identityRecord, parseIdentityRecord, readCommand, runFiles, runIdOfDirectory } from "./run-files.ts";

const runId = asRunId(7);
const boot = "1667efbb-893e-4d5b-bc1e-70c34149a46c";
const overBlank = (text: string): string => text + blankExitRecord.slice(text.length);

async function readWith(files: { exit?: string; draft?: string }) {
  const runDir = tempDir();
  const paths = runFiles(runDir);
  if (files.exit !== undefined) writeFileSync(paths.exit, files.exit);
  if (files.draft !== undefined) writeFileSync(paths.exitDraft, files.draft);
  return await readExitRecord({ runDir, runId });
}

test("no file, or only the preallocated one, is no record", async () => {
  expect(await readWith({})).toEqual({ kind: "none" });
  expect(await readWith({ draft: blankExitRecord })).toEqual({ kind: "none" });
});

test("a whole record is believed, renamed or not", async () => {
  const record = overBlank(`7 137 ${boot}\n`);
  expect(await readWith({ exit: record })).toMatchObject({ kind: "exit", status: 137, bootId: boot });
  expect(await readWith({ draft: record })).toMatchObject({ kind: "exit", status: 137, bootId: boot });
  expect(await readWith({ exit: `7 nogo ${boot}\n` })).toMatchObject({ kind: "nogo", bootId: boot });
});

test("how a command ended is believed only whole and of its own run [F-2.3]", async () => {
  const runDir = tempDir();
  expect(await readEndedBy({ runDir, runId }), "a wrapper of an earlier version").toBeUndefined();
  for (const [text, endedBy] of [
    ["7 signal\n", "signal"],
    ["7 code\n", "code"],
    ["7 unknown\n", undefined],
    ["8 signal\n", undefined],
    ["7 signal", undefined],
    ["7 sign", undefined],
    ["", undefined],
  ] as const) {
    writeFileSync(runFiles(runDir).endedBy, overBlank(text));
    expect(await readEndedBy({ runDir, runId }), text).toBe(endedBy);
  }
  rmSync(runFiles(runDir).endedBy);
  makeFifo(runFiles(runDir).endedBy);
  expect(await readEndedBy({ runDir, runId })).toBeUndefined();
});

test("an empty or torn exit record is never an exit 0", async () => {
  for (const exit of [
    "",
    blankExitRecord,
    "7",
    "7 0",
    `7 0 ${boot}`,
    overBlank(`7 0 ${boot}`),
    `7 0 \n`,
    `7 999 ${boot}\n`,
    "\0".repeat(128),
  ]) {
    expect(await readWith({ exit })).toEqual({ kind: "torn" });
  }
  expect(await readWith({ draft: overBlank("7 0 1667") })).toEqual({ kind: "torn" });
});

test("another run's record is foreign", async () => {
  expect(await readWith({ exit: `8 0 ${boot}\n` })).toEqual({ kind: "foreign", runId: 8 });
});

test("an identity record is believed only whole and of its own run", async () => {
  const line = `7 123 456 ${boot} pid:[4026531836] host.abc\n`;
  const identity = { hostId: "host.abc", bootId: boot, pidNamespace: "pid:[4026531836]", pid: 123, startTime: "456" };
  expect(parseIdentityRecord(line, runId)).toEqual(identity);
  expect(identityRecord(runId, { ...identity, hostId: asHostId("host.abc") })).toBe(line);
  for (const text of [
    "",
    line.trimEnd(),
    line.replace("7 ", "8 "),
    line.replace("123", "0"),
    line.replace(" host.abc", ""),
    `7 1 2 3 4 5 6\n`,
  ]) {
    expect(parseIdentityRecord(text, runId)).toBeUndefined();
  }
  const runDir = tempDir();
  expect(await readCommand({ runDir, runId })).toBeUndefined();
  writeFileSync(runFiles(runDir).command, line);
  expect(await readCommand({ runDir, runId })).toEqual(identity);
});

test("only a run id names a run directory", () => {
  expect(runIdOfDirectory("1099511627777")).toBe(1099511627777);
  for (const name of ["", "0", "01", "x", "1x", "-1", "12345678901234567"]) expect(runIdOfDirectory(name)).toBeUndefined();
});

test("that nothing was executed is not believed of a command that was seen to begin", async () => {
  const runDir = tempDir();
  writeFileSync(runFiles(runDir).exit, overBlank(`7 nogo ${boot}\n`));
  expect(await readExitRecord({ runDir, runId })).toMatchObject({ kind: "nogo" });
  expect(await readExitRecord({ runDir, runId, commandSeen: true })).toEqual({ kind: "torn" });
});
