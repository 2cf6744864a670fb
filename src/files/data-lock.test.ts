import { mkdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { lockDataDirectory } from "./data-lock.ts";

const holder = { pid: 12, startedAt: "2026-01-01T00:00:00.000Z" };

test("a lock that a cleaner deleted is made anew, and keeps others out again", async () => {
  const dataDir = tempDir("data");
  const held = await lockDataDirectory(dataDir, holder);
  rmSync(join(dataDir, "lock"));
  expect(held.lost()).toBeUndefined();
  if (held.locked) await expect(lockDataDirectory(dataDir, holder)).rejects.toMatchObject({ code: "data_dir_locked" });
  held.release();
  (await lockDataDirectory(dataDir, holder)).release();
});

test("a directory that another process took in between is lost, and stays so", async () => {
  const dataDir = tempDir("data");
  const held = await lockDataDirectory(dataDir, holder);
  if (!held.locked) return;
  rmSync(join(dataDir, "lock"));
  const other = await lockDataDirectory(dataDir, { ...holder, pid: 13 });
  expect(held.lost()).toMatch(/another process has taken/);
  expect(other.lost()).toBeUndefined();
  other.release();
  held.release();
});

test("a directory that was moved away, or another one in its place, is lost until it is back; nothing is made in the other", async () => {
  const parent = tempDir("data");
  const dataDir = join(parent, "data");
  mkdirSync(dataDir);
  const held = await lockDataDirectory(dataDir, holder);
  renameSync(dataDir, join(parent, "away"));
  expect(held.lost()).toMatch(/is gone/);
  mkdirSync(dataDir);
  expect(held.lost()).toMatch(/another folder/);
  rmdirSync(dataDir);
  renameSync(join(parent, "away"), dataDir);
  expect(held.lost()).toBeUndefined();
  held.release();
});
