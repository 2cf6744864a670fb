import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { link, readFile, readlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { hasCode } from "../../domain/errors.ts";
import { asHostId, type HostId } from "../../domain/ids.ts";
import { IrregularFileError, readRegular, replaceFile } from "../../files/regular-file.ts";
import { DamagedHostIdError } from "../errors.ts";
import type { HostIdentity } from "./identity.ts";

const run = promisify(execFile);

const isMissing = (error: unknown): boolean => hasCode(error, "ENOENT");

/** The random half of the host id, made once. Of two processes that start at once, both use the one that was linked first. */
async function keptRandomId(stateDir: string, randomId: () => string): Promise<string> {
  const path = join(stateDir, "host-id");
  const valid = async (): Promise<string | undefined> => {
    try {
      const text = (await readRegular(path))?.trim();
      return text !== undefined && /^[0-9A-Za-z-]{8,64}$/.test(text) ? text : undefined;
    } catch (error) {
      // Not a regular file: as damaged as one without an id. Reading a FIFO would block.
      if (error instanceof IrregularFileError) return undefined;
      throw error;
    }
  };
  const known = await valid();
  if (known !== undefined) return known;
  const fresh = randomId();
  const draft = join(stateDir, `host-id.${fresh}`);
  await writeFile(draft, `${fresh}\n`, { mode: 0o600, flag: "wx", flush: true });
  try {
    await link(draft, path);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  } finally {
    await unlink(draft);
  }
  const kept = await valid();
  // A damaged file is not replaced: under a new id, everything that runs here would look like another host's.
  if (kept === undefined) throw new DamagedHostIdError(path);
  return kept;
}

/** Whether two host ids are of one state directory, be it on another machine. */
export const isSameDirectory = (a: HostId, b: HostId): boolean => a.split(".")[0] === b.split(".")[0];

/** The machine's own id, which a copied state directory does not carry. Empty where the machine has none. */
async function machineId(): Promise<string> {
  if (process.platform === "darwin") {
    const { stdout } = await run("/usr/sbin/ioreg", ["-rd1", "-c", "IOPlatformExpertDevice"]);
    return /"IOPlatformUUID" = "([^"]+)"/.exec(stdout)?.[1] ?? "";
  }
  for (const path of ["/etc/machine-id", "/var/lib/dbus/machine-id"]) {
    try {
      const text = (await readFile(path, "utf8")).trim();
      if (text !== "") return text;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return "";
}

/**
 * The host id under which this boot is known already: a machine id may change while its machine runs. Undefined: not known, or of another
 * boot.
 */
async function idOfThisBoot(stateDir: string, random: string, bootId: string): Promise<string | undefined> {
  const text = await readRegular(join(stateDir, keptFile)).catch(() => undefined);
  const [hostId = "", keptBootId] = text?.trim().split(" ") ?? [];
  return keptBootId === bootId && hostId.startsWith(`${random}.`) && /^[0-9A-Za-z.-]{10,100}$/.test(hostId) ? hostId : undefined;
}

const keptFile = "host-of-boot";

/** What cannot be kept is found out again by the next start. */
async function keepIdOfBoot(stateDir: string, hostId: string, bootId: string): Promise<void> {
  const path = join(stateDir, keptFile);
  await replaceFile({ path, draft: `${path}.${process.pid}`, text: `${hostId} ${bootId}\n` }).catch(() => undefined);
}

/**
 * Reads who this host is, the same until its next boot: the id in `<stateDir>/host-id` joined to a hash of the machine id (a secret), the
 * boot's id, and this process's pid namespace.
 *
 * @param options - `stateDir` must exist and be readable and writable. `randomId` (8 to 64 letters, digits, dashes) is called once in the
 * life of a state directory.
 * @throws {DamagedHostIdError} `host_id_damaged`: the file is there and holds no id. It is never replaced.
 */
export async function readHostIdentity(options: { readonly stateDir: string; readonly randomId: () => string }): Promise<HostIdentity> {
  const { stateDir, randomId } = options;
  const [random, { bootId, pidNamespace }] = await Promise.all([keptRandomId(stateDir, randomId), thisBoot()]);
  const known = await idOfThisBoot(stateDir, random, bootId);
  if (known !== undefined) return { hostId: asHostId(known), bootId, pidNamespace };
  const machineHash = createHash("sha256")
    .update(`wakeful host ${await machineId()}`)
    .digest("hex")
    .slice(0, 16);
  const hostId = asHostId(`${random}.${machineHash}`);
  await keepIdOfBoot(stateDir, hostId, bootId);
  return { hostId, bootId, pidNamespace };
}

async function thisBoot(): Promise<Pick<HostIdentity, "bootId" | "pidNamespace">> {
  if (process.platform === "darwin") {
    const { stdout } = await run("/usr/sbin/sysctl", ["-n", "kern.bootsessionuuid"]);
    return { bootId: stdout.trim(), pidNamespace: "none" };
  }
  const [bootId, pidNamespace] = await Promise.all([readFile("/proc/sys/kernel/random/boot_id", "utf8"), readlink("/proc/self/ns/pid")]);
  return { bootId: bootId.trim(), pidNamespace };
}
