import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a cell was asked for: the JSON in its first argument. */
export function question(): unknown {
  return JSON.parse(process.argv[2] ?? "{}");
}

/** Says what was measured. The last line of standard output is the answer; everything before is for people. */
export function answer(measured: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`\n${JSON.stringify(measured)}\n`);
}

/** Runs `body` with a folder of its own that is removed afterwards. `WAKEFUL_BENCH_DIR` names another disk than the temporary folder's. */
export async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(process.env["WAKEFUL_BENCH_DIR"] ?? tmpdir(), "wakeful-bench-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Processor time of this process since `before`, in microseconds. */
export function cpuMicros(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return user + system;
}
