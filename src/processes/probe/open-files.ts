import { constants, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename } from "node:path";
import { codeOf } from "../../domain/errors.ts";

/** Names one file for ever, whatever its path: device and inode. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

/**
 * How a process has a FIFO open. `both`: for reading and writing; `reading`: for that alone; `none`: not at all, for writing alone, which
 * holds nothing, or ended; `unseen`: its open files may not be read.
 */
export type Grip = "both" | "reading" | "none" | "unseen";

/** What processes have open, as a port. Reads are of kernel memory, hence synchronous. */
export interface OpenFiles {
  /** The FIFO at `path`; undefined when there is none. A link is not followed. */
  identifyFifo(path: string): FileIdentity | undefined;
  /** @param name - the file's name when it was made: where inode numbers do not match, it tells which file to ask. */
  gripOf(pid: number, file: FileIdentity, name: string): Grip;
  /** Processes with a lock of the POSIX kind on some of these bytes of the file. Undefined: the system does not tell. */
  lockersOf(path: string, bytes: { readonly from: number; readonly to: number }): readonly number[] | undefined;
  /** As in `ProcessIdentity`; undefined when it may not be seen. */
  pidNamespaceOf(pid: number): string | undefined;
  /** The command line of a process, for people: one line, shortened. Undefined for a kernel thread, or where it may not be seen. */
  commandLineOf(pid: number): string | undefined;
}

const commandLettersMax = 120;

/** `(deleted)` is the kernel's suffix to the path of a file that has lost its name. */
const isNamed = (link: string, name: string): boolean => basename(link.replace(/ \(deleted\)$/, "")) === name;

const accessMask = constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR;

function gripOfDescriptor(at: { readonly pid: number; readonly fd: string }, file: FileIdentity, name: string): Grip {
  const path = `/proc/${at.pid}/fd/${at.fd}`;
  try {
    const link = readlinkSync(path);
    // A socket, an unnamed pipe or the like.
    if (!link.startsWith("/")) return "none";
    const info = readFileSync(`/proc/${at.pid}/fdinfo/${at.fd}`, "latin1");
    const inode = /^ino:\s*(\d+)$/m.exec(info)?.[1];
    // Only what may be the file is stat'ed: a file on a lost disk would block.
    if (inode !== String(file.inode) && !isNamed(link, name)) return "none";
    const stat = statSync(path, { bigint: true });
    if (stat.dev !== file.device || stat.ino !== file.inode) return "none";
    const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? "0", 8);
    const access = flags & accessMask;
    return access === constants.O_RDWR ? "both" : access === constants.O_RDONLY ? "reading" : "none";
  } catch {
    // It was closed, or its process ended, between two reads.
    return "none";
  }
}

/** A line of the kernel's list; who only waits for a lock has an arrow in its line. */
const lockLine = /^\d+: POSIX +\S+ +(?:READ|WRITE) +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)$/;

function lockersIn(
  list: string,
  { path, bytes }: { readonly path: string; readonly bytes: { readonly from: number; readonly to: number } },
): readonly number[] {
  const { dev, ino } = statSync(path, { bigint: true });
  const device = `${majorOf(dev)}:${minorOf(dev)}`;
  const pids = new Set<number>();
  for (const line of list.split("\n")) {
    const [, pid, major, minor, inode, from, to] = lockLine.exec(line) ?? [];
    if (pid === undefined || inode !== String(ino)) continue;
    if (Number(from) > bytes.to || (to !== "EOF" && Number(to) < bytes.from)) continue;
    const listed = `${Number.parseInt(major ?? "", 16)}:${Number.parseInt(minor ?? "", 16)}`;
    // Some file systems show files under another device than the kernel lists.
    if (listed === device || hasOpen(Number(pid), path)) pids.add(Number(pid));
  }
  return [...pids];
}

const majorOf = (device: bigint): bigint => ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
const minorOf = (device: bigint): bigint => (device & 0xffn) | ((device >> 12n) & 0xfff00n);

/** By the names of its open files alone: a stat of one on a lost disk would block. */
function hasOpen(pid: number, path: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => isNamed(readlinkSync(`/proc/${pid}/fd/${fd}`), basename(path)));
  } catch {
    // Ended, or another user's.
    return false;
  }
}

/** Linux: out of /proc. */
export const linuxOpenFiles = (): OpenFiles => ({
  identifyFifo(path) {
    try {
      const stat = lstatSync(path, { bigint: true });
      return stat.isFIFO() ? { device: stat.dev, inode: stat.ino } : undefined;
    } catch {
      // It is missing, or its folder may not be searched: then nobody is found by it.
      return undefined;
    }
  },
  gripOf(pid, file, name) {
    let descriptors: readonly string[];
    try {
      descriptors = readdirSync(`/proc/${pid}/fd`);
    } catch (error) {
      const code = codeOf(error);
      return code === "ENOENT" || code === "ESRCH" ? "none" : "unseen";
    }
    let grip: Grip = "none";
    for (const fd of descriptors) {
      const found = gripOfDescriptor({ pid, fd }, file, name);
      if (found === "both") return found;
      if (found !== "none") grip = found;
    }
    return grip;
  },
  lockersOf(path, bytes) {
    try {
      return lockersIn(readFileSync("/proc/locks", "latin1"), { path, bytes });
    } catch {
      // A kernel without the list, or the file is gone.
      return undefined;
    }
  },
  pidNamespaceOf(pid) {
    try {
      return readlinkSync(`/proc/${pid}/ns/pid`);
    } catch {
      // Ended, or another user's.
      return undefined;
    }
  },
  commandLineOf(pid) {
    try {
      const text = readFileSync(`/proc/${pid}/cmdline`, "utf8")
        .replaceAll("\0", " ")
        .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?")
        .trim();
      if (text === "") return undefined;
      return text.length <= commandLettersMax ? text : `${text.slice(0, commandLettersMax - 1)}…`;
    } catch {
      // Ended or hidden: people see no name.
      return undefined;
    }
  },
});

/** For platforms that do not tell what processes have open: nothing is found, and nobody is called unseen. */
const noOpenFiles: OpenFiles = {
  identifyFifo: () => undefined,
  gripOf: () => "none",
  lockersOf: () => undefined,
  pidNamespaceOf: () => undefined,
  commandLineOf: () => undefined,
};

export const systemOpenFiles = (): OpenFiles => (process.platform === "linux" ? linuxOpenFiles() : noOpenFiles);
