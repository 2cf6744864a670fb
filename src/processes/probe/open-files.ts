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
  pidNamespaceOf: () => undefined,
  commandLineOf: () => undefined,
};

export const systemOpenFiles = (): OpenFiles => (process.platform === "linux" ? linuxOpenFiles() : noOpenFiles);
