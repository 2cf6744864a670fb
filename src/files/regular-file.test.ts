import { closeSync, constants, existsSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeFifo } from "../../test/support/fifo.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { openRegular, readRegular, replaceFile } from "./regular-file.ts";

const irregular: readonly [string, (path: string) => void][] = [
  ["a FIFO that nobody reads", makeFifo],
  [
    "a FIFO that somebody reads",
    (path) => {
      makeFifo(path);
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      onTestFinished(() => closeSync(reader));
    },
  ],
  [
    "a link",
    (path) => {
      writeFileSync(`${path}.target`, "");
      symlinkSync(`${path}.target`, path);
    },
  ],
  ["a folder", mkdirSync],
];

test.each(irregular)("%s is refused at once, for reading and for appending", async (_what, make) => {
  const path = join(tempDir("irregular"), "file");
  make(path);
  const append = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT;
  await expect(openRegular(path, append)).rejects.toMatchObject({ code: "not_a_file", retryable: true, path });
  await expect(readRegular(path)).rejects.toMatchObject({ code: "not_a_file" });
  if (existsSync(`${path}.target`)) expect(readFileSync(`${path}.target`, "utf8")).toBe("");
});

test("a regular file is opened, and one that is missing is no text", async () => {
  const path = join(tempDir("regular"), "file");
  expect(await readRegular(path)).toBeUndefined();
  const file = await openRegular(path, constants.O_WRONLY | constants.O_CREAT);
  await file.writeFile("text");
  await file.close();
  expect(await readRegular(path)).toBe("text");
});

test.each(irregular.slice(0, 3))("%s is replaced, and so is what lies in the draft's place", async (_what, make) => {
  const dir = tempDir("replaced");
  const [path, draft] = [join(dir, "file"), join(dir, "draft")];
  make(path);
  mkdirSync(join(draft, "deep"), { recursive: true });
  await replaceFile({ path, draft, text: "new" });
  expect(await readRegular(path)).toBe("new");
  if (existsSync(`${path}.target`)) expect(readFileSync(`${path}.target`, "utf8")).toBe("");
});
