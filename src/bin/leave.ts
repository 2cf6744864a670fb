import { setTimeout as pause } from "node:timers/promises";
import type { ProcessOutput } from "./output.ts";

/** Calls that occupy a thread of the process: file system calls and name lookups. */
const threadCalls = /^(FSReq|FileHandleClose|GetAddrInfo|GetNameInfo)/i;
const waitMs = 500;
const lookMs = 20;

/**
 * Ends the process with this exit code; never resolves.
 *
 * An exit waits for the process's threads, and a file system that does not answer can hold one for ever. Then TERM ends the process.
 */
export async function leave(exitCode: number, output: Pick<ProcessOutput, "err" | "finish">): Promise<never> {
  for (let waitedMs = 0; waitedMs < waitMs && stuckCalls().length > 0; waitedMs += lookMs) await pause(lookMs);
  const stuck = stuckCalls().length > 0;
  if (stuck) output.err("A call to the file system, or a name lookup, does not return; ending without waiting for it.\n");
  // An exit drops what is still on its way to a reader.
  await output.finish();
  if (!stuck) process.exit(exitCode);
  // TERM waits for no thread, and a supervisor that stopped this process takes it as a normal end.
  process.removeAllListeners("SIGTERM");
  process.kill(process.pid, "SIGTERM");
  // Reached only by the first process of a container, which its own signals do not end.
  process.abort();
}

const stuckCalls = (): readonly string[] => process.getActiveResourcesInfo().filter((name) => threadCalls.test(name));
