import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { promisify } from "node:util";
import { hasCode } from "../../domain/errors.ts";
import type { LifePipe } from "../../liveness/evidence.ts";
import { runFiles } from "./run-files.ts";

/**
 * Probes a run's life pipe without blocking (decision 0004). `held`: something of the run lives. `released`: nobody has it open, which
 * needs a dead or unprobeable process beside it. `unknown`: no FIFO, or it cannot be opened.
 */
export async function probeLifePipe(runDir: string): Promise<LifePipe> {
  try {
    const handle = await open(runFiles(runDir).lifePipe, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      // Only a FIFO counts: a regular file can always be opened for writing.
      return (await handle.stat()).isFIFO() ? "held" : "unknown";
    } finally {
      await handle.close();
    }
  } catch (error) {
    return hasCode(error, "ENXIO") ? "released" : "unknown";
  }
}

/**
 * Makes the FIFO of a run that has no wrapper. A wrapper's shell makes its own, because Node cannot, and spawning `mkfifo` costs several
 * times the shell's fork. Throws when `mkfifo` fails, also when the pipe exists.
 */
export async function makeLifePipe(runDir: string): Promise<void> {
  await promisify(execFile)("mkfifo", ["-m", "600", runFiles(runDir).lifePipe]);
}
