import { setTimeout as pause } from "node:timers/promises";

/** Calls that occupy a thread of the process: file system calls and name lookups. */
const threadCalls = /^(FSReq|FileHandleClose|GetAddrInfo|GetNameInfo)/i;
const waitMs = 500;
const lookMs = 20;

/**
 * Ends the process with this exit code; never resolves.
 *
 * An exit waits for the process's threads, and a file system that does not answer can hold one for ever. Then TERM ends the process.
 */
export async function leave(exitCode: number, say: (line: string) => void): Promise<never> {
  for (let waitedMs = 0; waitedMs < waitMs && stuckCalls().length > 0; waitedMs += lookMs) await pause(lookMs);
  if (stuckCalls().length === 0) process.exit(exitCode);
  say("A call to the file system, or a name lookup, does not return; ending without waiting for it.");
  // TERM waits for no thread, and a supervisor that stopped this process takes it as a normal end.
  process.removeAllListeners("SIGTERM");
  process.kill(process.pid, "SIGTERM");
  // Reached only by the first process of a container, which its own signals do not end.
  process.abort();
}

const stuckCalls = (): readonly string[] => process.getActiveResourcesInfo().filter((name) => threadCalls.test(name));
