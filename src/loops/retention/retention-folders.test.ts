import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { FolderWalk, removeFolder } from "./retention-folders.ts";

const namesOf = (folders: readonly { readonly name: string }[]) => folders.map(({ name }) => name);

test("folders are walked a bounded number at a time, each once a round, and a round begins again after the last", async () => {
  const root = tempDir("walk");
  for (const name of ["a", "b", "c", "d", "e"]) mkdirSync(join(root, name));
  const walk = new FolderWalk(root);
  for (let round = 0; round < 2; round++) {
    const seen: string[] = [];
    let steps = 0;
    for (let more = true; more; steps++) {
      const found = await walk.next(2);
      expect(found.folders.length).toBeLessThanOrEqual(2);
      seen.push(...namesOf(found.folders));
      more = found.more;
    }
    expect([seen.toSorted(), steps]).toEqual([["a", "b", "c", "d", "e"], 3]);
  }
  await walk.close();
});

test("links and files are no folders, and a folder that goes meanwhile is left out", async () => {
  const root = tempDir("walk");
  const outside = tempDir("outside");
  for (const name of ["stays", "goes"]) mkdirSync(join(root, name));
  writeFileSync(join(root, "file"), "");
  symlinkSync(outside, join(root, "link"));
  const walk = new FolderWalk(root);
  expect(await walk.next(0)).toEqual({ folders: [], more: true });
  rmSync(join(root, "goes"), { recursive: true });
  const { folders } = await walk.next(100);
  expect(folders).toEqual([{ name: "stays", path: join(root, "stays"), mtimeMs: expect.any(Number) }]);
});

test("a root that is not there has no folders, now or at the next call", async () => {
  const root = join(tempDir("walk"), "none");
  const walk = new FolderWalk(root);
  expect(await walk.next(5)).toEqual({ folders: [], more: false });
  mkdirSync(join(root, "late"), { recursive: true });
  expect(namesOf((await walk.next(5)).folders)).toEqual(["late"]);
});

test("a folder goes with all that is in it, links in it without what they lead to; what is no folder stays", async () => {
  const root = tempDir("remove");
  const outside = tempDir("outside");
  writeFileSync(join(outside, "precious"), "x");
  mkdirSync(join(root, "book", "pages"), { recursive: true });
  symlinkSync(outside, join(root, "book", "pages", "out"));
  symlinkSync(outside, join(root, "link"));
  writeFileSync(join(root, "file"), "x");
  expect(await removeFolder({ root, name: "book" })).toBe(true);
  expect(existsSync(join(root, "book"))).toBe(false);
  for (const name of ["link", "file", "absent"]) expect(await removeFolder({ root, name }), name).toBe(false);
  expect([existsSync(join(root, "link")), existsSync(join(root, "file")), existsSync(join(outside, "precious"))]).toEqual([
    true,
    true,
    true,
  ]);
});

/** Forty folders in each other, of 200 letters each: a path of 8,000 bytes. */
function makeDeep(folder: string): void {
  const script = `const { mkdirSync, writeFileSync } = require("node:fs");
    for (let at = 0; at < 40; at += 1) { mkdirSync("d".repeat(200)); process.chdir("d".repeat(200)); writeFileSync("file", "x"); }`;
  const { status, stderr } = spawnSync(process.execPath, ["-e", script], { cwd: folder });
  expect([status, stderr.toString()]).toEqual([0, ""]);
}

test("a folder goes however deep it is, also where a crash came half-way [F-8.15]", async () => {
  const root = tempDir("remove");
  mkdirSync(join(root, "deep"));
  makeDeep(join(root, "deep"));
  for (const left of [".deep-1", ".deep-2"]) {
    mkdirSync(join(root, "deep", left));
    makeDeep(join(root, "deep", left));
  }
  expect(await removeFolder({ root, name: "deep" })).toBe(true);
  expect(readdirSync(root)).toEqual([]);
});

test.each(["", ".", "..", "../other", "a/b", "a\\b", "a\0b"])("the name %j leads out of the root and removes nothing", async (name) => {
  const root = tempDir("remove");
  mkdirSync(join(root, "a", "b"), { recursive: true });
  await expect(removeFolder({ root, name })).rejects.toThrow("is no folder below");
  expect(existsSync(join(root, "a", "b"))).toBe(true);
});
