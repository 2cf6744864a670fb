import { chmod, mkdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { skipTest } from "../../test/support/skips.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { asInstant } from "../domain/time.ts";
import { HeartbeatWatch } from "./heartbeat-watch.ts";

const wall = 1_700_000_000_000;
const touch = (path: string, atMs: number) => utimes(path, atMs / 1000, atMs / 1000);
const at = (ms: number) => ({ now: () => asInstant(5_000_000 + ms), wallNow: () => wall + ms, startedAt: asInstant(5_000_000 - 60_000) });

test("a change of the file's time is a beat now, whatever the time says [A-1, A-2]", async () => {
  const path = join(tempDir(), "prep.heartbeat");
  await writeFile(path, Buffer.from([0, 255, 10]));
  await touch(path, wall - 10_000);
  const watch = new HeartbeatWatch([{ path, by: "mtime" }]);
  expect(await watch.look(at(0))).toBe(5_000_000 - 10_000);
  expect(await watch.look(at(1000))).toBeUndefined();
  await touch(path, wall + 3_600_000);
  expect(await watch.look(at(2000))).toBe(5_002_000);
  await touch(path, wall - 3_600_000);
  expect(await watch.look(at(3000))).toBe(5_003_000);
});

test("content does not matter: a rewritten file of the same time is no beat [A-2]", async () => {
  const path = join(tempDir(), "hb");
  await writeFile(path, "start");
  await touch(path, wall);
  const watch = new HeartbeatWatch([{ path, by: "mtime" }]);
  await watch.look(at(0));
  await writeFile(path, "x".repeat(100_000));
  await touch(path, wall);
  expect(await watch.look(at(1000))).toBeUndefined();
});

test("a file older than the run is an earlier run's and no beat of this one [A-G1]", async () => {
  const path = join(tempDir(), "hb");
  await writeFile(path, "");
  await touch(path, wall - 61_000);
  const watch = new HeartbeatWatch([{ path, by: "mtime" }]);
  expect(await watch.look(at(0))).toBeUndefined();
  await touch(path, wall);
  expect(await watch.look(at(1000))).toBe(5_001_000);
});

test("a folder, a link and a missing file say nothing", async () => {
  const dir = tempDir();
  await mkdir(join(dir, "folder"));
  await symlink("/etc/hostname", join(dir, "link"));
  const watch = new HeartbeatWatch(["folder", "link", "missing"].map((name) => ({ path: join(dir, name), by: "mtime" as const })));
  expect(await watch.look(at(0))).toBeUndefined();
  await touch(join(dir, "folder"), wall + 1000);
  expect(await watch.look(at(1000))).toBeUndefined();
});

test("a file that may not be looked at says nothing and breaks nothing; once it may be, it is heard again", async (context) => {
  const dir = tempDir();
  const path = join(dir, "closed", "hb");
  await mkdir(join(dir, "closed"));
  await writeFile(path, "");
  await touch(path, wall - 10_000);
  const watch = new HeartbeatWatch([{ path, by: "mtime" }]);
  // Nothing is closed to root, so for one look this process is somebody else.
  const isRoot = process.getuid?.() === 0;
  if (isRoot && process.seteuid === undefined) skipTest(context, "root cannot become another user here");
  await chmod(join(dir, "closed"), 0o000);
  try {
    if (isRoot) process.seteuid?.(65534);
    expect(await watch.look(at(0))).toBeUndefined();
  } finally {
    if (isRoot) process.seteuid?.(0);
    await chmod(join(dir, "closed"), 0o700);
  }
  expect(await watch.look(at(1000))).toBe(5_000_000 - 10_000);
});

test("of a file of mode 0000 only the time is asked, so that a touch still counts", async () => {
  const path = join(tempDir(), "hb");
  await writeFile(path, "");
  await chmod(path, 0o000);
  await touch(path, wall - 10_000);
  const watch = new HeartbeatWatch([{ path, by: "mtime" }]);
  expect(await watch.look(at(0))).toBe(5_000_000 - 10_000);
});

test("growth of a log is progress where the stage says so", async () => {
  const path = join(tempDir(), "stdout.log");
  await writeFile(path, "a");
  await touch(path, wall);
  const watch = new HeartbeatWatch([{ path, by: "size" }]);
  await watch.look(at(0));
  expect(await watch.look(at(1000))).toBeUndefined();
  await writeFile(path, "ab");
  expect(await watch.look(at(2000))).toBe(5_002_000);
});

test("a beat is told with the time at which it was seen, not with that at which the look began", async () => {
  const path = join(tempDir(), "hb");
  await writeFile(path, "");
  await touch(path, wall);
  const watch = new HeartbeatWatch([{ path, by: "mtime" }]);
  await watch.look(at(0));
  let ms = 1000;
  await touch(path, wall + 1);
  const looking = watch.look({ ...at(0), now: () => asInstant(5_000_000 + ms) });
  ms = 2000;
  expect(await looking).toBe(5_002_000);
});
