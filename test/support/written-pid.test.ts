import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { tempDir } from "./temp-dir.ts";
import { writtenPid } from "./written-pid.ts";

test("a pid is read once it is written, never from a file that is missing or still empty", async () => {
  const path = join(tempDir("pid"), "pid");
  const answers: number[] = [];
  const read = writtenPid(path).then((pid) => answers.push(pid));
  await turn();
  for (const early of ["", "\n", "0\n"]) {
    await writeFile(path, early);
    expect(await Promise.race([read, turn("not yet")])).toBe("not yet");
  }
  await writeFile(path, "4711\n");
  await read;
  expect(answers).toEqual([4711]);
});
