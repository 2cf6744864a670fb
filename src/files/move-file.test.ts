import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { freePathIn, keepIn, moveFile, moveToFree, sha256Of } from "./move-file.ts";

const memoryDisk = "/dev/shm";
const ownDisk = statSync(tmpdir()).dev;
const otherDisk = existsSync(memoryDisk) && statSync(memoryDisk).dev !== ownDisk ? memoryDisk : undefined;

/** Two folders, on one disk or on two. */
const disks: readonly (readonly [string, () => { readonly from: string; readonly to: string }])[] = [
  ["on one disk", () => ({ from: tempDir("moves"), to: tempDir("moves") })],
  ...(otherDisk === undefined
    ? []
    : [
        [
          "from one disk to another",
          () => {
            const to = mkdtempSync(join(otherDisk, "wakeful-moves-"));
            onTestFinished(() => rmSync(to, { recursive: true, force: true }));
            return { from: tempDir("moves"), to };
          },
        ] as const,
      ]),
];

for (const [where, folders] of disks) {
  test(`a move ${where} takes the whole file along and leaves nothing behind`, async () => {
    const { from, to } = folders();
    writeFileSync(join(from, "a"), "content");
    writeFileSync(join(to, "a.part"), "left by a crash");
    await moveFile({ from: join(from, "a"), to: join(to, "a") });
    expect(readdirSync(from)).toEqual([]);
    expect(readFileSync(join(to, "a"), "utf8")).toBe("content");
  });

  test(`a move to a free name ${where} replaces nothing, and goes on where a crash cut it short`, async () => {
    const { from, to } = folders();
    writeFileSync(join(from, "a"), "content");
    writeFileSync(join(to, "a"), "another");
    expect(await moveToFree({ from: join(from, "a"), to: join(to, "a") })).toBe(false);
    expect(await freePathIn({ from: join(from, "a"), dir: to, name: "a" })).toBe(join(to, "a~2"));
    // The file is at its new place and still at its old one: the crash came before the removal.
    await keepIn({ from: join(from, "a"), dir: to, name: "b" });
    expect(await moveToFree({ from: join(from, "a"), to: join(to, "b") })).toBe(true);
    expect([readdirSync(from), readFileSync(join(to, "a"), "utf8"), readFileSync(join(to, "b"), "utf8")]).toEqual([
      [],
      "another",
      "content",
    ]);
  });

  test(`a file that is kept ${where} twice has one name there`, async () => {
    const { from, to } = folders();
    writeFileSync(join(from, "a.cbz"), "content");
    writeFileSync(join(to, "a.cbz"), "another");
    const kept = await keepIn({ from: join(from, "a.cbz"), dir: to, name: "a.cbz" });
    expect(kept).toBe(join(to, "a~2.cbz"));
    expect(await keepIn({ from: join(from, "a.cbz"), dir: to, name: "a.cbz" })).toBe(kept);
    expect(readdirSync(to).toSorted()).toEqual(["a.cbz", "a~2.cbz"]);
  });

  test(`a link moved ${where} never brings what it points to`, async () => {
    const { from, to } = folders();
    writeFileSync(join(from, "secret"), "secret");
    symlinkSync(join(from, "secret"), join(from, "link"));
    const moved = await moveFile({ from: join(from, "link"), to: join(to, "link") }).then(
      () => lstatSync(join(to, "link")).isSymbolicLink(),
      () => !existsSync(join(to, "link")),
    );
    expect(moved).toBe(true);
  });
}

test("hashes are of the whole content, and links are not followed", async () => {
  const dir = tempDir("moves");
  writeFileSync(join(dir, "big"), Buffer.alloc(3_000_001, 7));
  expect(await sha256Of(join(dir, "big"))).toMatch(/^[0-9a-f]{64}$/);
  writeFileSync(join(dir, "abc"), "abc");
  expect(await sha256Of(join(dir, "abc"))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  symlinkSync(join(dir, "abc"), join(dir, "link"));
  await expect(sha256Of(join(dir, "link"))).rejects.toThrow("ELOOP");
});
