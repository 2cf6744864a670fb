import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../../domain/errors.ts";
import { asHostId, asRunId, type RunId } from "../../domain/ids.ts";
import type { ProcessIdentity } from "../probe/identity.ts";

/** The files of one run. All are below `runs/<id>` and belong to it for ever: ids are never issued twice. */
export interface RunFiles {
  /** Written by the wrapper before it waits for `go`. */
  readonly started: string;
  /** Written by the command's own process just before it becomes the command. */
  readonly command: string;
  readonly lifePipe: string;
  readonly exit: string;
  /** The preallocated exit record, until it is renamed to `exit`. */
  readonly exitDraft: string;
  /** What the wrapper's shell says on its stderr: how it tells of a signal that killed the command. */
  readonly shellSaid: string;
  /** What follows from that: `<run id> signal`, `code` or `unknown`. Preallocated, and written before the exit record. */
  readonly endedBy: string;
  readonly input: string;
  readonly output: string;
  readonly heartbeat: string;
  readonly progress: string;
  readonly stdoutLog: string;
  readonly stderrLog: string;
}

export const runFiles = (runDir: string): RunFiles => ({
  started: join(runDir, "started"),
  command: join(runDir, "command"),
  lifePipe: join(runDir, "alive"),
  exit: join(runDir, "exit"),
  exitDraft: join(runDir, "exit.new"),
  shellSaid: join(runDir, "shell.log"),
  endedBy: join(runDir, "ended-by"),
  input: join(runDir, "input.json"),
  output: join(runDir, "output.json"),
  heartbeat: join(runDir, "heartbeat"),
  progress: join(runDir, "progress"),
  stdoutLog: join(runDir, "stdout.log"),
  stderrLog: join(runDir, "stderr.log"),
});

/** Missing, a link, or in a folder that the command closed. As errors they would leave the run unjudged for ever. */
const unwrittenCodes = ["ENOENT", "ELOOP", "EACCES", "EPERM"] as const;

/**
 * The first `maxBytes` of a file; `undefined`: none that may be read. What is longer than a record, or no file, was not written by us.
 * Throws when the disk fails, which proves nothing.
 */
export async function readStart(path: string, maxBytes: number): Promise<{ text: string; mtimeMs: number } | undefined> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    // The command may put a FIFO here, which would block this thread, or a link, which would lead it elsewhere.
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, ...unwrittenCodes)) return undefined;
    throw error;
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return undefined;
    const buffer = Buffer.alloc(maxBytes);
    const { bytesRead } = await handle.read(buffer, 0, maxBytes, 0);
    return { text: buffer.toString("latin1", 0, bytesRead), mtimeMs: stat.mtimeMs };
  } finally {
    await handle.close();
  }
}

/** The line that wrapper and command write about themselves; {@link parseIdentityRecord} reads it. */
export const identityRecord = (runId: RunId, { pid, startTime, bootId, pidNamespace, hostId }: ProcessIdentity): string =>
  `${runId} ${pid} ${startTime} ${bootId} ${pidNamespace} ${hostId}\n`;

/** Parses `<run id> <pid> <start time> <boot id> <pid namespace> <host id>`. Undefined: not whole, or another run's. */
export function parseIdentityRecord(text: string, runId: RunId): ProcessIdentity | undefined {
  const end = text.indexOf("\n");
  if (end < 0) return undefined;
  const [run, pid, startTime, bootId, pidNamespace, hostId, ...rest] = text.slice(0, end).split(" ");
  if (run !== String(runId) || pid === undefined || !/^[1-9]\d*$/.test(pid) || rest.length > 0) return undefined;
  if (!startTime || !bootId || !pidNamespace || !hostId) return undefined;
  return { hostId: asHostId(hostId), bootId, pidNamespace, pid: Number(pid), startTime };
}

/** The run that a directory name stands for, for scans of `runs/`. */
export const runIdOfDirectory = (name: string): RunId | undefined => (/^[1-9]\d{0,15}$/.test(name) ? asRunId(Number(name)) : undefined);

interface OfRun {
  readonly runDir: string;
  readonly runId: RunId;
}

async function readIdentity(path: string, runId: RunId): Promise<ProcessIdentity | undefined> {
  const start = await readStart(path, 1024);
  return start === undefined ? undefined : parseIdentityRecord(start.text, runId);
}

/** The wrapper's identity; `undefined`: there is no whole record of this run. Throws when the disk cannot be read. */
export const readStarted = ({ runDir, runId }: OfRun): Promise<ProcessIdentity | undefined> =>
  readIdentity(runFiles(runDir).started, runId);

/**
 * The command's own identity, which replaces the wrapper's. `undefined`: the command was not started (yet). Every judge reads it before it
 * probes.
 */
export const readCommand = ({ runDir, runId }: OfRun): Promise<ProcessIdentity | undefined> =>
  readIdentity(runFiles(runDir).command, runId);
