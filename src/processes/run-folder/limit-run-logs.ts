import { lstat } from "node:fs/promises";
import { limitLog } from "../../files/log-limit.ts";
import { runFiles } from "./run-files.ts";

/** A log that was cut. */
export interface CutLog {
  readonly file: string;
  readonly lostBytes: number;
}

/** Cuts the logs of a run that are longer than `maxBytes`. Cheap where none is. @throws When a log cannot be read or written. */
export async function limitRunLogs({
  runDir,
  maxBytes,
}: {
  readonly runDir: string;
  readonly maxBytes: number;
}): Promise<readonly CutLog[]> {
  const { stdoutLog, stderrLog } = runFiles(runDir);
  const cut: CutLog[] = [];
  for (const file of [stdoutLog, stderrLog]) {
    const found = await lstat(file).catch(() => undefined);
    if (found === undefined || found.size <= maxBytes) continue;
    const { truncated, droppedBytes } = await limitLog({ path: file, maxBytes });
    if (truncated) cut.push({ file, lostBytes: droppedBytes });
  }
  return cut;
}
