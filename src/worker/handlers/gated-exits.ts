import { mkdir } from "node:fs/promises";
import { type DataPaths, runDirOf } from "../../files/data-paths.ts";
import { replaceFile } from "../../files/regular-file.ts";
import type { ResultReader } from "../../gates/result-reader.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import { runFiles } from "../../processes/run-folder/run-files.ts";
import type { Pause } from "../../runtime/pause.ts";
import { reportExit } from "../exit-report.ts";
import type { WorkerBackend } from "../worker-backend.ts";
import type { GatedExits } from "./handler-worker-options.ts";

export interface GatedExitsDeps {
  readonly backend: Pick<WorkerBackend, "reading" | "now">;
  readonly reader: Pick<ResultReader, "endedBy" | "output" | "gate">;
  readonly registry: PipelineRegistry;
  readonly paths: DataPaths;
  readonly pause: Pause;
  /** Aborted at shutdown: runs still waited for are left to who takes over, who finds their exit on record. */
  readonly signal: AbortSignal;
}

/** Runs of handlers whose stage has a gate, from their return to their end. */
export function gatedExits({ registry, paths, pause, signal, ...deps }: GatedExitsDeps): GatedExits {
  return {
    save: async (runId, output) => {
      const runDir = runDirOf(paths, runId);
      await mkdir(runDir, { recursive: true, mode: 0o700 });
      await replaceFile({ path: runFiles(runDir).output, text: output });
    },
    report: async (workerId, claimed) => {
      const exited = {
        ...claimed,
        stage: registry.stageOfQueue(claimed.queue)?.stage,
        exitCode: 0,
        straysLeft: false,
        evidence: { returned: true },
      };
      for (;;) {
        const again = await reportExit(deps, workerId, exited, { signal });
        if (again === undefined || signal.aborted) return;
        await pause(Math.max(0, again - deps.backend.now()), signal);
        if (isAborted(signal)) return;
      }
    },
  };
}

/** Read again after an await: it may have been aborted meanwhile, which the types do not know. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;
