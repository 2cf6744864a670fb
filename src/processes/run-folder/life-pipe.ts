import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { promisify } from "node:util";
import { hasCode } from "../../domain/errors.ts";
import type { LifePipe } from "../../liveness/evidence.ts";
import { runFiles } from "./run-files.ts";

/**
 * Looks without blocking at a run's life pipe `runs/<id>/alive`: a FIFO that wrapper and command hold open, so that a death can be seen
 * without pids (across pid namespaces, with no pid reuse).
 *
 * `held`: something of the run lives. `released`: nobody has it open (a command may have closed it, so this needs a dead or
 * unprobeable process beside it). `unknown`: there is no pipe, it is no FIFO, or it cannot be opened.
 */
export async function probeLifePipe(runDir: string): Promise<LifePipe> {
  try {
    const handle = await open(runFiles(runDir).lifePipe, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      // A regular file can be opened for writing whoever lives, so only a FIFO counts.
      return (await handle.stat()).isFIFO() ? "held" : "unknown";
    } finally {
      await handle.close();
    }
  } catch (error) {
    return hasCode(error, "ENXIO") ? "released" : "unknown";
  }
}

/**
 * Makes the FIFO, for runs that have no wrapper. Throws when `mkfifo` fails, also when the pipe exists.
 *
 * A wrapper's shell makes its own before it says that it is ready: Node cannot, and a spawn of ours costs several times the shell's fork.
 * It opens the FIFO for reading *and* writing, which never blocks.
 */
export async function makeLifePipe(runDir: string): Promise<void> {
  await promisify(execFile)("mkfifo", ["-m", "600", runFiles(runDir).lifePipe]);
}
