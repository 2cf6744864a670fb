import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Fault } from "../fault.ts";
import { setUps } from "../set-up.ts";
import { drawDaemon } from "./targets.ts";

/** A disk that has nothing more to give, and then has again. No job is charged for it. */
const fullDisk = (name: string, rows: readonly string[], place: "disk" | "runs-disk", take: (folder: string) => void): Fault => ({
  name,
  rows,
  setUps,
  needs: ["root", "mount"],
  hits: ["disk"],
  lastsMs: [1500, 3000],
  begin: async (scene) => {
    const folder = join(drawDaemon(scene).folder, place, "taken");
    mkdirSync(folder);
    take(folder);
    return async () => rmSync(folder, { recursive: true });
  },
});

function takeInodes(folder: string): void {
  for (let at = 0; ; at += 1) {
    try {
      closeSync(openSync(join(folder, String(at)), "wx"));
    } catch (thrown) {
      if (isFull(thrown)) return;
      throw thrown;
    }
  }
}

/** Down to the last page. */
function takeRoom(folder: string): void {
  const file = openSync(join(folder, `taken-${readdirSync(folder).length}`), "w");
  try {
    for (const size of [2 ** 20, 4096]) {
      const bytes = Buffer.alloc(size);
      while (hasRoom(folder, size)) writeSync(file, bytes);
    }
  } catch (thrown) {
    if (!isFull(thrown)) throw thrown;
  } finally {
    closeSync(file);
  }
}

function hasRoom(folder: string, size: number): boolean {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize >= size;
}

const isFull = (thrown: unknown): boolean => thrown instanceof Error && (thrown as NodeJS.ErrnoException).code === "ENOSPC";

export const noInodes = fullDisk("no-inodes", ["F-8.4"], "runs-disk", takeInodes);
export const noRoomForRuns = fullDisk("no-room-for-runs", ["F-8.4"], "runs-disk", takeRoom);
export const fullDataDisk = fullDisk("full-data-disk", ["F-8.4"], "disk", takeRoom);
