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

const endings: (() => void | Promise<void>)[] = [];

/** Registers what to do when the cell must end before it has an answer; the last one runs first. */
export function whenStopped(ending: () => void | Promise<void>): void {
  endings.unshift(ending);
}

process.once("SIGTERM", () => {
  void (async () => {
    for (const ending of endings) await ending();
  })().finally(() => process.exit(143));
});

/** Runs `body` with a folder of its own that is removed afterwards. `WAKEFUL_BENCH_DIR` names another disk than the temporary folder's. */
export async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(process.env["WAKEFUL_BENCH_DIR"] ?? tmpdir(), "wakeful-bench-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  whenStopped(remove);
  try {
    await body(folder);
  } finally {
    remove();
  }
}

/** Processor time of this process since `before`, in microseconds. */
export function cpuMicros(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return user + system;
}
