import { join } from "node:path";
import type { RunId } from "../domain/ids.ts";

/** Where things lie below the data directory; all of it is 0700 and survives every process. */
export interface DataPaths {
  readonly dataDir: string;
  readonly runsDir: string;
  readonly workDir: string;
}

export const dataPaths = (dataDir: string): DataPaths => ({ dataDir, runsDir: join(dataDir, "runs"), workDir: join(dataDir, "work") });

export const runDirOf = (paths: DataPaths, runId: RunId): string => join(paths.runsDir, String(runId));
/** `dir` as the item row has it: one path component, validated when the item was added. */
export const itemDirOf = (paths: DataPaths, dir: string): string => join(paths.workDir, dir);
