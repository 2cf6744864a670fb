import { chmodSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { FileHeldError, holdFile } from "./held-file.ts";

/** A `flock` that answers so, in front of the system's. */
function flockAnswers(status: number): void {
  const folder = tempDir("flock");
  writeFileSync(join(folder, "flock"), `#!/bin/sh\nexit ${status}\n`);
  chmodSync(join(folder, "flock"), 0o755);
  const before = process.env["PATH"];
  process.env["PATH"] = `${folder}:${before}`;
  onTestFinished(() => {
    process.env["PATH"] = before;
  });
}

test("a file is held by one, under every name, until it is released", () => {
  const path = join(tempDir("held"), "lock");
  const held = holdFile(path);
  if (!held.locked) return;
  expect(() => holdFile(path)).toThrow(FileHeldError);
  renameSync(path, `${path}.moved`);
  expect(() => holdFile(`${path}.moved`)).toThrow(FileHeldError);
  held.release();
  holdFile(`${path}.moved`).release();
});

test("what becomes of the name is told: deleted, moved away, replaced", () => {
  const path = join(tempDir("held"), "lock");
  const held = holdFile(path);
  onTestFinished(() => held.release());
  expect(held.lost()).toBeUndefined();
  renameSync(path, `${path}.moved`);
  expect(held.lost()).toMatch(/was moved away/);
  writeFileSync(path, "");
  expect(held.lost()).toMatch(/another file stands in the place/);
  rmSync(path);
  renameSync(`${path}.moved`, path);
  expect(held.lost()).toBeUndefined();
  rmSync(path);
  expect(held.lost()).toMatch(/was deleted/);
});

test("a file system without such locks refuses no start; only a lock of somebody else does", () => {
  const path = join(tempDir("held"), "lock");
  flockAnswers(71);
  const held = holdFile(path);
  expect(held.locked).toBe(false);
  held.release();
  flockAnswers(1);
  expect(() => holdFile(path)).toThrow(FileHeldError);
});
