import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { availableParallelism, cpus, loadavg, platform, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { median } from "./figure.ts";

/** What figures depend on: the day, the machine, its disk and how busy it was before anything of ours ran. */
export function machineFacts(): readonly string[] {
  const [load = 0] = loadavg();
  return [
    new Date().toISOString().slice(0, 10),
    `${availableParallelism()} x ${cpus()[0]?.model.trim() ?? "processor"}, ${Math.round(totalmem() / 2 ** 30)} GB, ${platform()} ${release()}`,
    `fdatasync of 4 kB: ${flushMs().toFixed(2)} ms (median)`,
    `load at the start: ${load.toFixed(1)}`,
    `Node ${process.version.slice(1)}`,
  ];
}

/** Of the library that the embedded engine uses. */
export function sqliteVersion(): string {
  const db = new DatabaseSync(":memory:");
  const { version } = db.prepare("select sqlite_version() as version").get() as { version: string };
  db.close();
  return `SQLite ${version}, synchronous=FULL for ours`;
}

/** How long the disk of the stores takes to make a small write durable. */
function flushMs(): number {
  const folder = mkdtempSync(join(process.env["WAKEFUL_BENCH_DIR"] ?? tmpdir(), "wakeful-bench-"));
  const file = openSync(join(folder, "flush"), "w");
  try {
    const took = Array.from({ length: 200 }, (_, at) => {
      const began = performance.now();
      writeSync(file, Buffer.alloc(4096), 0, 4096, at * 4096);
      fdatasyncSync(file);
      return performance.now() - began;
    });
    return median(took);
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true, force: true });
  }
}
