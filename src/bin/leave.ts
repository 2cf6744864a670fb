import { setTimeout as pause } from "node:timers/promises";

/** Calls that threads of the process wait for: of the file system, and lookups of names. */
const threadCalls = /^(FSReq|FileHandleClose|GetAddrInfo|GetNameInfo)/i;
const waitMs = 500;
const lookMs = 20;

/**
 * Ends the process with this exit code; never resolves.
 *
 * An exit waits for the threads of the process, and so for as long as a file system that does not answer holds one of them: for ever, where
 * nobody unmounts it. Such a process is ended by TERM instead, which waits for nobody, and which whoever stopped it takes for its end.
 */
export async function leave(exitCode: number, say: (line: string) => void): Promise<never> {
  for (let waitedMs = 0; waitedMs < waitMs && stuckCalls().length > 0; waitedMs += lookMs) await pause(lookMs);
  if (stuckCalls().length === 0) process.exit(exitCode);
  say("A call to the file system, or a name lookup, does not return; ending without waiting for it.");
  process.removeAllListeners("SIGTERM");
  process.kill(process.pid, "SIGTERM");
  // Only the first process of a container comes here: no signal of its own ends it.
  process.abort();
}

const stuckCalls = (): readonly string[] => process.getActiveResourcesInfo().filter((name) => threadCalls.test(name));
