import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFifo } from "../../test/support/fifo.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { directAccess } from "../files/foreign/path-operation.ts";
import type { IntakeDefinition } from "../pipelines/definition.ts";
import { checkFile } from "./file-checks.ts";
import type { FoundFile } from "./watched-folder.ts";

const intake = { maxBytes: 100, diskFreeFactor: 2.5, signature: ["504b0304", "ffd8"] } as unknown as IntakeDefinition;
const zip = Buffer.from("504b030499", "hex");

/** A file with this content, and how many times its disk was asked. */
function found(content: Buffer, { sizeBytes = content.length, free = 1e9 } = {}) {
  const path = join(tempDir("intake"), "file");
  writeFileSync(path, content);
  let asked = 0;
  const freeBytes = async () => {
    asked++;
    return free;
  };
  const check = async (changes: Partial<IntakeDefinition> = {}) =>
    await checkFile(
      { path: Buffer.from(path), sizeBytes } as FoundFile,
      { ...intake, ...changes },
      { access: directAccess, freeBytesOf: freeBytes },
    );
  return { path, check, asked: () => asked };
}

test("a file of any of the right signatures that fits is taken", async () => {
  expect(await found(zip).check()).toEqual({ kind: "take" });
  expect(await found(Buffer.from("ffd8ff", "hex")).check()).toEqual({ kind: "take" });
  expect(await found(Buffer.alloc(0)).check({ signature: undefined })).toEqual({ kind: "take" });
});

test("a file that is too large is refused by its size alone, one of exactly the limit is taken", async () => {
  expect(await found(zip, { sizeBytes: 100 }).check()).toEqual({ kind: "take" });
  const large = found(Buffer.from("nothing of the kind"), { sizeBytes: 101 });
  expect(await large.check()).toMatchObject({ kind: "reject", counter: "input_rejected_size" });
  expect(large.asked()).toBe(0);
});

test.each([
  ["another signature", "504b0303", "it begins with 504b0303"],
  ["a part of one", "ff", "it begins with ff"],
  ["nothing in it", "", "it begins with nothing"],
])("a file with %s is refused, with what it begins with and what is taken", async (_, hex, text) => {
  const refused = found(Buffer.from(hex, "hex"));
  expect(await refused.check()).toMatchObject({
    kind: "reject",
    counter: "input_rejected_signature",
    reason: expect.stringContaining(`${text}, and only 504b0304 or ffd8 is taken`),
  });
  expect(refused.asked()).toBe(0);
});

test("where the disk has less than its share free a file waits, and is not refused", async () => {
  expect(await found(zip, { sizeBytes: 5, free: 13 }).check()).toEqual({ kind: "take" });
  expect(await found(zip, { sizeBytes: 5, free: 12 }).check()).toEqual({
    kind: "wait",
    reason: "12 bytes of disk are free, 13 are needed",
    freeBytes: 12,
    needBytes: 13,
  });
});

test("a link or a FIFO that took the file's place since it was listed is not followed, and holds nobody", async () => {
  const swapped = found(zip);
  rmSync(swapped.path);
  symlinkSync("/etc/hostname", swapped.path);
  await expect(swapped.check()).rejects.toMatchObject({ code: "ELOOP" });
  rmSync(swapped.path);
  makeFifo(swapped.path);
  await expect(swapped.check()).rejects.toMatchObject({ code: "ESPIPE" });
});
