import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFifo } from "../../test/support/fifo.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { readProgress } from "./progress-file.ts";

test("a report of several lines is told in one", async () => {
  const path = join(tempDir("progress"), "progress.json");
  writeFileSync(path, '{\n  "done": 3,\n  "of": 10\n}\n');
  expect(await readProgress(path)).toBe('{"done":3,"of":10}');
});

test.each([
  ["half written", '{"done": 3'],
  ["empty", ""],
  ["too large", JSON.stringify("x".repeat(65_536))],
])("a report that is %s is none: the next look may find it whole", async (_, text) => {
  const path = join(tempDir("progress"), "progress.json");
  writeFileSync(path, text);
  expect(await readProgress(path)).toBeUndefined();
});

test("what a command put there instead of a file leads nowhere and holds nobody", async () => {
  const folder = tempDir("progress");
  writeFileSync(join(folder, "secret.json"), '"secret"');
  symlinkSync(join(folder, "secret.json"), join(folder, "link"));
  makeFifo(join(folder, "fifo"));
  for (const name of ["absent", "link", "fifo", "."]) expect(await readProgress(join(folder, name)), name).toBeUndefined();
});
