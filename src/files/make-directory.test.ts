import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { makeDirectory } from "./make-directory.ts";

test("what is missing above a folder is made too, and a folder that is there is left as it is", async () => {
  const path = join(tempDir("made"), "a/b/c");
  await makeDirectory(path, { mode: 0o700 });
  await makeDirectory(path, { mode: 0o755 });
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

test("two who make the same folder at once both succeed", async () => {
  const path = join(tempDir("made"), "a/b/c");
  await Promise.all([makeDirectory(path), makeDirectory(path), makeDirectory(join(path, "d"))]);
  expect(statSync(join(path, "d")).isDirectory()).toBe(true);
});

test("below procfs, where no folder can be made, it fails instead of trying for ever", async () => {
  await expect(makeDirectory("/proc/x/data")).rejects.toThrow(/ENOENT.*\/proc\/x/);
});

test("a file in the way is named", async () => {
  const file = join(tempDir("made"), "file");
  writeFileSync(file, "");
  await expect(makeDirectory(file)).rejects.toThrow(/EEXIST.*file/);
  await expect(makeDirectory(join(file, "below"))).rejects.toThrow(/ENOTDIR/);
});
