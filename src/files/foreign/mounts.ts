import { lstatSync, readFileSync, readlinkSync } from "node:fs";
import { hasCode } from "../../domain/errors.ts";

/** A mounted file system, as the kernel lists it. Paths are byte strings, one letter a byte. */
export interface Mount {
  readonly id: string;
  readonly parent: string;
  readonly device: string;
  readonly point: string;
  readonly type: string;
}

/** What of the disk {@link MountTable.mountOf} looks at. */
export interface LinkReader {
  /** Where a link leads; undefined for anything else, and where nothing is. */
  readonly linkAt: (path: string) => string | undefined;
}

/** Kinds of file systems whose calls end by themselves, because their data is in this machine. */
const localTypes: ReadonlySet<string> = new Set(
  (
    "ext2 ext3 ext4 xfs btrfs zfs f2fs jfs nilfs2 reiserfs bcachefs ubifs overlay aufs tmpfs ramfs rootfs devtmpfs hugetlbfs squashfs erofs " +
    "vfat exfat msdos ntfs3 hfsplus iso9660 udf proc sysfs cgroup cgroup2 devpts mqueue securityfs debugfs tracefs bpf configfs pstore"
  ).split(" "),
);
/** As many links as the kernel follows. */
const linksMax = 40;

/** Whether a call to a file system of this kind may wait for another machine or another program. */
export const isLocalType = (type: string): boolean => localTypes.has(type);

/** The text of `/proc/self/mountinfo`, line by line. */
export function parseMounts(text: string): readonly Mount[] {
  return text.split("\n").flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const [id, parent, device, , point] = before.split(" ");
    const type = after.split(" ")[0];
    if (id === undefined || parent === undefined || device === undefined || point === undefined || type === undefined) return [];
    return [
      {
        id,
        parent,
        device,
        point: point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
        type,
      },
    ];
  });
}

/** Tells on which mount a path lies, without touching any mount that may not answer. */
export class MountTable {
  readonly #children = new Map<string, Mount[]>();
  readonly #root: Mount | undefined;
  readonly #links: LinkReader;

  constructor(mounts: readonly Mount[], links: LinkReader = diskLinks) {
    this.#links = links;
    const ids = new Set(mounts.map(({ id }) => id));
    for (const mount of mounts) {
      const key = `${mount.parent} ${mount.point}`;
      this.#children.set(key, [...(this.#children.get(key) ?? []), mount]);
    }
    const lowest = mounts.find(({ point, parent, id }) => point === "/" && (!ids.has(parent) || parent === id));
    this.#root = lowest === undefined ? undefined : this.#top(lowest, "/");
  }

  /**
   * The mount at which the way to `path` ends, or the first one on it that `stops`. Links are followed. Undefined: the table is empty.
   *
   * @param path - absolute, as a byte string.
   */
  mountOf(path: string, stops: (mount: Mount) => boolean): Mount | undefined {
    if (this.#root === undefined) return undefined;
    let way: { readonly at: string; readonly mount: Mount }[] = [{ at: "/", mount: this.#root }];
    const ahead = path.split("/").toReversed();
    let links = 0;
    for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
      const here = way.at(-1) ?? { at: "/", mount: this.#root };
      if (stops(here.mount)) return here.mount;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (way.length > 1) way.pop();
        continue;
      }
      const at = here.at === "/" ? `/${name}` : `${here.at}/${name}`;
      const mount = this.#top(here.mount, at);
      // What is mounted here covers any link, and must not be looked at before its kind is known.
      const target = mount === here.mount ? this.#links.linkAt(at) : undefined;
      if (target === undefined) {
        way.push({ at, mount });
        continue;
      }
      links += 1;
      if (links > linksMax) return here.mount;
      if (target.startsWith("/")) way = [{ at: "/", mount: this.#root }];
      ahead.push(...target.split("/").toReversed());
    }
    return way.at(-1)?.mount;
  }

  /** What is seen at `point`, which may be covered several times. */
  #top(mount: Mount, point: string): Mount {
    let top = mount;
    for (;;) {
      const next = this.#children.get(`${top.id} ${point}`)?.find((child) => child !== top);
      if (next === undefined) return top;
      top = next;
    }
  }
}

const diskLinks: LinkReader = {
  linkAt: (path) => {
    const bytes = Buffer.from(path, "latin1");
    try {
      if (!lstatSync(bytes).isSymbolicLink()) return undefined;
      return readlinkSync(bytes, { encoding: "buffer" }).toString("latin1");
    } catch {
      // Nothing is there, or nobody may look: the call that follows fails in the same way, and at once.
      return undefined;
    }
  },
};

/** The list of the mounts that this process sees now, as the system writes it. Undefined where it writes none (macOS). */
export function readMounts(): string | undefined {
  try {
    return readFileSync("/proc/self/mountinfo", "latin1");
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT", "EACCES", "ENOTDIR")) return undefined;
    throw thrown;
  }
}

/** A path as a byte string. */
export const bytesOf = (path: string | Buffer): string => (typeof path === "string" ? Buffer.from(path, "utf8") : path).toString("latin1");
