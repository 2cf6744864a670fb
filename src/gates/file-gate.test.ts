import { mkdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { gateSubject } from "../../test/support/gate-subject.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import type { FileGateDefinition } from "../pipelines/definition.ts";
import { readFileGate } from "./file-gate.ts";
import type { GateSubject } from "./gate-answer.ts";

let workDir: string;

beforeEach(() => {
  workDir = tempDir("gate");
});

const file = (overrides: object = {}): FileGateDefinition => ({ kind: "file", path: "final.pdf", anyAge: false, ...overrides });
const read = (gate: FileGateDefinition, overrides: Partial<GateSubject> = {}) =>
  readFileGate(gate, gateSubject(workDir, overrides), new AbortController().signal);

test("a file gate asks for size and first bytes", async () => {
  await writeFile(join(workDir, "final.pdf"), `%PDF-1.7${" ".repeat(100)}`);
  expect(await read(file({ minBytes: 100, startsWith: "%PDF-" }))).toEqual({ kind: "green" });
  expect(await read(file({ minBytes: 1024 }))).toMatchObject({ kind: "red", reason: expect.stringContaining("at least 1024") });
  expect(await read(file({ startsWith: "GIF8" }))).toMatchObject({ kind: "red" });
});

test("a signature is bytes, one of several, of which a text could not hold the first [F-2.5]", async () => {
  await writeFile(join(workDir, "final.pdf"), Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0x00]));
  expect(await read(file({ signature: ["89504e47", "ffd8ff"] }))).toEqual({ kind: "green" });
  expect(await read(file({ signature: ["89504e47"] }))).toEqual({
    kind: "red",
    reason: "final.pdf begins with ffd8ffe0, and 89504e47 is needed",
  });
  expect(await read(file({ signature: ["ffd8ffe00000"] })), "longer than the file").toMatchObject({ kind: "red" });
  await writeFile(join(workDir, "final.pdf"), "");
  expect(await read(file({ signature: ["ffd8ff"] }))).toMatchObject({ kind: "red", reason: expect.stringContaining("is empty") });
});

test("a result of an earlier run is red, unless any age will do", async () => {
  await writeFile(join(workDir, "final.pdf"), "x");
  await utimes(join(workDir, "final.pdf"), 1, 1);
  const later = Date.now() + 60_000;
  expect(await read(file(), { notBeforeMs: later })).toMatchObject({ kind: "red", reason: expect.stringContaining("older") });
  expect(await read(file({ anyAge: true }), { notBeforeMs: later })).toEqual({ kind: "green" });
});

test("a file whose run began nobody knows when is neither of this run nor of an earlier one: unreadable, unless any age will do", async () => {
  await writeFile(join(workDir, "final.pdf"), "x");
  expect(await read(file(), { notBeforeMs: undefined })).toMatchObject({ kind: "unreadable" });
  expect(await read(file({ anyAge: true }), { notBeforeMs: undefined })).toEqual({ kind: "green" });
  expect(await read(file({ path: "missing.pdf" }), { notBeforeMs: undefined })).toMatchObject({ kind: "red" });
});

test("a missing file, a folder, a link and a path that leaves the work directory are red", async () => {
  expect(await read(file())).toMatchObject({ kind: "red", reason: expect.stringContaining("does not exist") });
  await mkdir(join(workDir, "folder"));
  expect(await read(file({ path: "folder" }))).toMatchObject({ kind: "red" });
  await symlink("/etc/hostname", join(workDir, "link"));
  expect(await read(file({ path: "link" }))).toMatchObject({ kind: "red" });
  await symlink("/etc", join(workDir, "etc"));
  expect(await read(file({ path: "etc/hostname" }))).toMatchObject({ kind: "red" });
  expect(await read(file({ path: "../x" }))).toMatchObject({ kind: "red" });
});
