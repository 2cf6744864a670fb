import { constants, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename } from "node:path";
import { codeOf } from "../../domain/errors.ts";

/** One file for ever, whatever its names: device and inode. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

/**
 * How a process has a FIFO open. `both`: for reading and writing. `reading`: for that alone. `none`: not at all, or for writing alone, which
 * holds nothing; or the process has ended. `unseen`: its open files may not be looked at.
 */
export type Grip = "both" | "reading" | "none" | "unseen";

/** What processes have open, as a port. Reads are of kernel memory, hence synchronous. */
export interface OpenFiles {
  /** The FIFO at `path`; undefined when there is none. A link is not followed. */
  identifyFifo(path: string): FileIdentity | undefined;
  /** @param name - the file's name when it was made: where the kernel's number of a file says nothing, it tells which to look at. */
  gripOf(pid: number, file: FileIdentity, name: string): Grip;
  /** As in `ProcessIdentity`; undefined when it may not be seen. */
  pidNamespaceOf(pid: number): string | undefined;
  /** What the process was started as, for people: one line, shortened. Undefined for a thread of the kernel, or when it may not be seen. */
  commandLineOf(pid: number): string | undefined;
}

const commandLettersMax = 120;

/** `deleted`: the kernel's remark behind the path of a file that has lost its name. */
const isNamed = (link: string, name: string): boolean => basename(link.replace(/ \(deleted\)$/, "")) === name;

const accessMask = constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR;

function gripOfDescriptor(at: { readonly pid: number; readonly fd: string }, file: FileIdentity, name: string): Grip {
  const path = `/proc/${at.pid}/fd/${at.fd}`;
  try {
    const link = readlinkSync(path);
    // Sockets, pipes without a name, and the like.
    if (!link.startsWith("/")) return "none";
    const info = readFileSync(`/proc/${at.pid}/fdinfo/${at.fd}`, "latin1");
    const inode = /^ino:\s*(\d+)$/m.exec(info)?.[1];
    // Only what can be the file is asked itself: a file on a disk that is gone would hold whoever asks.
    if (inode !== String(file.inode) && !isNamed(link, name)) return "none";
    const stat = statSync(path, { bigint: true });
    if (stat.dev !== file.device || stat.ino !== file.inode) return "none";
    const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? "0", 8);
    const access = flags & accessMask;
    return access === constants.O_RDWR ? "both" : access === constants.O_RDONLY ? "reading" : "none";
  } catch {
    // Closed, or its process ended, between two questions.
    return "none";
  }
}

/** Linux: out of /proc. */
export const linuxOpenFiles = (): OpenFiles => ({
  identifyFifo(path) {
    try {
      const stat = lstatSync(path, { bigint: true });
      return stat.isFIFO() ? { device: stat.dev, inode: stat.ino } : undefined;
    } catch {
      // Not there, or its folder is shut: nobody can be found by it.
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
      // Ended, or hidden: a name for people that nobody knows.
      return undefined;
    }
  },
});

/** Where nothing tells what processes have open: nothing is found there, and nobody is called unseen. */
const noOpenFiles: OpenFiles = {
  identifyFifo: () => undefined,
  gripOf: () => "none",
  pidNamespaceOf: () => undefined,
  commandLineOf: () => undefined,
};

export const systemOpenFiles = (): OpenFiles => (process.platform === "linux" ? linuxOpenFiles() : noOpenFiles);
