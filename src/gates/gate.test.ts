import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { gateSubject } from "../../test/support/gate-subject.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import type { GateDefinition } from "../pipelines/definition.ts";
import { readGate } from "./gate.ts";

let workDir: string;
const never = new AbortController().signal;

beforeEach(() => {
  workDir = tempDir("gate");
});

const file: GateDefinition = { kind: "file", path: "final.pdf", anyAge: false };
const command = (script: string): GateDefinition => ({ kind: "command", argv: [process.execPath, "-e", script] });
const read = (gate: GateDefinition | undefined) => readGate(gate, gateSubject(workDir), never);

test("a stage without a gate is green [B-46]", async () => {
  expect(await read(undefined)).toEqual({ kind: "green" });
});

test("a reading that is ended begins no further gate", async () => {
  const end = new AbortController();
  end.abort();
  const touch = command(`require("fs").writeFileSync("touched", "")`);
  expect(await readGate({ kind: "all", gates: [touch] }, gateSubject(workDir), end.signal)).toMatchObject({ kind: "unreadable" });
  await expect(readFile(join(workDir, "touched"))).rejects.toThrow("ENOENT");
});

test("a gate that cannot be read is never taken for red by all, any or not [B-47]", async () => {
  await writeFile(join(workDir, "final.pdf"), "x");
  const unreadable = command("process.exit(101)");
  const red = command("process.exit(1)");
  expect(await read({ kind: "all", gates: [file, unreadable] })).toMatchObject({ kind: "unreadable" });
  expect(await read({ kind: "all", gates: [unreadable, red] })).toMatchObject({ kind: "red" });
  expect(await read({ kind: "any", gates: [red, unreadable] })).toMatchObject({ kind: "unreadable" });
  expect(await read({ kind: "any", gates: [unreadable, file] })).toEqual({ kind: "green" });
  expect(await read({ kind: "not", gate: unreadable })).toMatchObject({ kind: "unreadable" });
  expect(await read({ kind: "not", gate: red })).toEqual({ kind: "green" });
});
