import { expect, test } from "vitest";
import { bytesOf, isLocalType, type Mount, MountTable, parseMounts } from "./mounts.ts";

const lines = `22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:50 / /mnt/share rw - nfs4 server:/export rw
41 40 0:51 / /mnt/share/local rw - tmpfs none rw
42 27 0:52 / /mnt/with\\040space rw - fuse none rw
43 27 0:53 / /auto rw - autofs systemd-1 rw
44 43 254:1 / /auto rw - xfs /dev/vdb rw
45 27 0:54 / /over rw - cifs //server/x rw
46 45 0:55 / /over rw - tmpfs none rw
47 27 0:56 / /under rw - tmpfs none rw
48 47 0:57 / /under rw - cifs //server/x rw
`;

const foreign = ({ type }: Mount): boolean => !isLocalType(type);

/** Where a path leads by these links. Looking at what may not answer fails the test. */
function mountOf(path: string, links: Readonly<Record<string, string>>): Mount | undefined {
  const table = new MountTable(parseMounts(lines), {
    linkAt: (at) => {
      if (/^\/(mnt\/share|mnt\/with space|under)(\/|$)/.test(at)) throw new Error(`${at} was looked at`);
      return links[at];
    },
  });
  return table.mountOf(bytesOf(path), foreign);
}

const pointOf = (path: string, links: Readonly<Record<string, string>> = {}): string | undefined => mountOf(path, links)?.point;
const typeAt = (path: string): string | undefined => mountOf(path, {})?.type;

test("a path lies on the innermost mount on its way, and no mount that may not answer is looked at", () => {
  expect(pointOf("/srv/file")).toBe("/");
  expect(pointOf("/proc/self/x")).toBe("/proc");
  expect(pointOf("/mnt/share/a/b")).toBe("/mnt/share");
  expect(pointOf("/mnt/share")).toBe("/mnt/share");
  expect(pointOf("/mnt/sharefile")).toBe("/");
  expect(pointOf("/mnt/with space/x")).toBe("/mnt/with space");
  // To get there the share must be passed.
  expect(pointOf("/mnt/share/local/x")).toBe("/mnt/share");
});

test("what covers a mount counts, also where it is mounted at the same place", () => {
  expect(typeAt("/auto/x")).toBe("xfs");
  expect(typeAt("/over/x")).toBe("tmpfs");
  expect(typeAt("/under/x")).toBe("cifs");
});

test("links are followed, as the kernel does", () => {
  expect(pointOf("/etc/secret", { "/etc/secret": "/mnt/share/secret" })).toBe("/mnt/share");
  expect(pointOf("/etc/secret", { "/etc/secret": "../mnt/share/secret" })).toBe("/mnt/share");
  expect(pointOf("/data/in/file", { "/data": "/srv/data", "/srv": "/mnt" })).toBe("/");
  expect(pointOf("/data/file", { "/data": "/mnt/../mnt/./share" })).toBe("/mnt/share");
  expect(pointOf("/a/x", { "/a": "/b", "/b": "/a" })).toBe("/");
  expect(pointOf("/../../mnt/share")).toBe("/mnt/share");
});

test("without a list nothing is known", () => {
  expect(new MountTable([]).mountOf("/x", foreign)).toBeUndefined();
  expect(parseMounts("")).toEqual([]);
});
