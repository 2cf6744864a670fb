import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import type { Config } from "../../config/config.ts";
import { formatSize } from "../../domain/durations.ts";
import { hasCode, messageOf } from "../../domain/errors.ts";
import { freeDiskBytes, freeInodes } from "../../files/free-disk.ts";
import { type DoctorFinding, ok, problem, warning } from "./finding.ts";

const oldestNode = [20, 19] as const;

export function checkNode(nodeVersion: string): DoctorFinding {
  const [major = 0, minor = 0] = nodeVersion.replace(/^v/, "").split(".").map(Number);
  const enough = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  if (enough) return ok("node", `Node ${nodeVersion}`);
  return problem("node", `Node ${nodeVersion} is older than ${oldestNode.join(".")}`, "Install a newer Node.");
}

/** Programs that the wrapper of commands uses. */
export function checkPrograms(path: string, platform: NodeJS.Platform): DoctorFinding {
  const needed = ["sh", "mkfifo", "sync", "mv", "nice", ...(platform === "linux" ? ["setsid"] : [])];
  const missing = needed.filter(
    (name) => !path.split(delimiter).some((directory) => isAbsolute(directory) && isExecutable(join(directory, name))),
  );
  if (missing.length === 0) return ok("programs", `${needed.join(", ")} are there`);
  return problem(
    "programs",
    `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not in PATH`,
    "Install them (packages coreutils and util-linux): commands cannot be run without.",
  );
}

export interface DirectoryCheck {
  readonly dataDir: string;
  readonly uid: number | undefined;
}

/** Whoever may write here may run commands as the daemon's user; whoever may read sees tokens and inputs. */
export function checkDataDirectory({ dataDir, uid }: DirectoryCheck): DoctorFinding {
  const check = "data directory";
  try {
    const { mode, uid: owner } = statSync(dataDir);
    if (uid !== undefined && owner !== uid) {
      return problem(
        check,
        `${dataDir} belongs to user ${owner}, and you are user ${uid}`,
        `Call as its owner, or \`chown -R ${uid} ${dataDir}\` while no daemon runs.`,
      );
    }
    if ((mode & 0o077) !== 0)
      return problem(check, `${dataDir} is open to others (mode ${(mode & 0o777).toString(8)})`, `\`chmod 700 ${dataDir}\``);
    accessSync(dataDir, constants.W_OK);
    const token = join(dataDir, "tokens", "admin");
    if (existsSync(token) && (statSync(token).mode & 0o077) !== 0) {
      return problem(
        check,
        `${token} can be read by others`,
        `\`chmod 600 ${token}\`, and remove it and restart the daemon if others may have read it: a new one is made.`,
      );
    }
    return ok(check, dataDir);
  } catch (thrown) {
    if (isMissing(thrown)) return warning(check, `${dataDir} does not exist yet`, "`wakeful up` makes it.");
    return problem(check, `${dataDir}: ${messageOf(thrown)}`, "Give the daemon's user the right to write there.");
  }
}

export async function checkDisk({ dataDir, disk }: Pick<Config, "dataDir" | "disk">): Promise<readonly DoctorFinding[]> {
  let free: number;
  let files: number | undefined;
  try {
    free = await freeDiskBytes(dataDir);
    files = await freeInodes(dataDir);
  } catch (thrown) {
    if (isMissing(thrown)) return [];
    return [warning("disk", `free space is unknown: ${messageOf(thrown)}`, "Look at it with `df`.")];
  }
  const limit = disk.minFreeBytes;
  const space =
    free < limit
      ? problem(
          "disk",
          `${gibibytes(free)} are free, less than ${formatSize(limit)} (disk.minFreeBytes): nothing new is claimed`,
          "Free some space, or lower disk.minFreeBytes.",
        )
      : files !== undefined && files < disk.minFreeInodes
        ? problem(
            "disk",
            `${files} more files can be made, less than ${disk.minFreeInodes} (disk.minFreeInodes): nothing new is claimed`,
            "Remove files that nobody needs (`df -i` shows the disk), or lower disk.minFreeInodes.",
          )
        : ok("disk", `${gibibytes(free)} are free${files === undefined ? "" : `, and ${files} more files can be made`}`);
  if (disk.ballastBytes === 0)
    return [
      space,
      warning(
        "ballast",
        "disk.ballastBytes is 0: on a full disk, what has ended cannot be written down",
        "Leave it at its default of 16 MiB.",
      ),
    ];
  return [space, ballastOf(join(dataDir, "ballast"))];
}

function ballastOf(path: string): DoctorFinding {
  try {
    return ok("ballast", `${formatSize(statSync(path).size)} kept for a full disk`);
  } catch (thrown) {
    // A running daemon creates it by itself once there is room.
    if (isMissing(thrown))
      return warning("ballast", "the ballast is not laid down", "A running daemon lays it down once enough space is free.");
    return warning("ballast", `it cannot be looked at: ${messageOf(thrown)}`, "Call as the user who runs the daemon.");
  }
}

/** In a container, everything ends with its first process: nothing is left that a next daemon could adopt. */
export function checkContainer({ recovery }: Pick<Config, "recovery">, inContainer: boolean): DoctorFinding {
  if (!inContainer)
    return ok(
      "adoption",
      recovery.adoption
        ? "commands that outlive a daemon are taken up by the next"
        : "off: commands that outlive a daemon are stopped and run again",
    );
  if (!recovery.adoption) return ok("adoption", "in a container, and off");
  return warning(
    "adoption",
    "this is a container: when it ends, its commands end with it, and count as lost",
    "Upgrade in place, let it end with `wakeful up --drain`, or run workers outside; set maxLosses so that losses spend no attempts.",
  );
}

/** Marks of the usual container engines. */
export function looksLikeContainer(env: Readonly<Record<string, string | undefined>>): boolean {
  if (
    existsSync("/.dockerenv") ||
    existsSync("/run/.containerenv") ||
    env["KUBERNETES_SERVICE_HOST"] !== undefined ||
    env["container"] !== undefined
  )
    return true;
  try {
    return /docker|kubepods|containerd|lxc/.test(readFileSync("/proc/1/cgroup", "utf8"));
  } catch {
    // No readable procfs: no sign of a container.
    return false;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Not here; another directory of the path may have it.
    return false;
  }
}

const isMissing = (thrown: unknown): boolean => hasCode(thrown, "ENOENT");

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
