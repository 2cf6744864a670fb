import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFifo } from "../../../test/support/fifo.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import type { EventName } from "../../telemetry/events.ts";
import { DiskWatch } from "./disk-watch.ts";

test("the disk's ballast is laid while there is room, freed when there is none, and nothing is claimed below the limit", async () => {
  const dataDir = join(tempDir("disk"), "data");
  mkdirSync(dataDir);
  let free = 1_000_000_000;
  const told: EventName[] = [];
  const disk = new DiskWatch({
    dataDir,
    minFreeBytes: 1000,
    minFreeInodes: 0,
    ballastBytes: 100_000,
    emit: (name) => told.push(name),
    freeBytes: async () => free,
  });
  await disk.look();
  expect(statSync(join(dataDir, "ballast")).size).toBe(100_000);
  expect(statSync(join(dataDir, "ballast")).blocks * 512).toBeGreaterThanOrEqual(100_000);
  free = 999;
  await disk.look();
  await disk.look();
  expect([disk.low, ...told]).toEqual([true, "disk.low"]);
  expect(await disk.freeBallast()).toBe(true);
  expect(await disk.freeBallast()).toBe(false);
  free = 1_000_000_000;
  await disk.look();
  expect([disk.low, ...told]).toEqual([false, "disk.low", "disk.recovered"]);
  expect(readdirSync(dataDir)).toEqual(["ballast"]);
  const broken = new DiskWatch({
    dataDir,
    minFreeBytes: 1,
    minFreeInodes: 0,
    ballastBytes: 0,
    emit: (name: EventName) => told.push(name),
    freeBytes: async () => {
      throw new Error("gone");
    },
  });
  await broken.look();
  expect(told.at(-1)).toBe("store.degraded");
});

test("a link or a FIFO in the ballast's place is not written to, and blocks nothing", async () => {
  const dataDir = tempDir("ballast");
  const path = join(dataDir, "ballast");
  const told: EventName[] = [];
  const emit = (name: EventName): void => void told.push(name);
  const disk = new DiskWatch({ dataDir, minFreeBytes: 1, minFreeInodes: 0, ballastBytes: 1000, emit, freeBytes: async () => 1e9 });
  writeFileSync(join(dataDir, "precious"), "kept");
  symlinkSync(join(dataDir, "precious"), path);
  await disk.look();
  expect(readFileSync(join(dataDir, "precious"), "utf8")).toBe("kept");
  rmSync(path);
  makeFifo(path);
  await disk.look();
  expect(told).toEqual(["store.degraded", "store.degraded"]);
  rmSync(path);
  for (let look = 0; look < 60; look++) await disk.look();
  expect(statSync(path).size).toBe(1000);
});

test("where few files can be made nothing is claimed, and a file system without a number of them is not asked", async () => {
  const dataDir = tempDir("inodes");
  let files: number | undefined = 99;
  const told: EventName[] = [];
  const disk = new DiskWatch({
    dataDir,
    minFreeBytes: 1,
    minFreeInodes: 100,
    ballastBytes: 0,
    emit: (name) => told.push(name),
    freeBytes: async () => 1e9,
    inodes: async () => files,
  });
  await disk.look();
  expect([disk.low, disk.trouble, ...told]).toEqual([
    true,
    "99 more files can be made on the disk, less than disk.minFreeInodes",
    "disk.low",
  ]);
  files = 100;
  await disk.look();
  expect([disk.low, disk.trouble, ...told]).toEqual([false, undefined, "disk.low", "disk.recovered"]);
  files = undefined;
  await disk.look();
  expect(disk.low).toBe(false);
});
