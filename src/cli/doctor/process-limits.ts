import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type DoctorFinding, ok, warning } from "./finding.ts";

/** From this part of a limit on it is told. */
const nearlyAll = 0.9;

interface Limit {
  readonly what: string;
  readonly used: number;
  readonly max: number;
  readonly remedy: string;
}

/** How near a daemon of this machine is to the limits of its processes and open files. Linux only; elsewhere, and of others' processes, nothing. */
export function checkProcessLimits(pid: number, proc = "/proc", cgroups = "/sys/fs/cgroup"): readonly DoctorFinding[] {
  let limits: readonly Limit[];
  try {
    limits = [...limitsOf(pid, proc), ...groupLimitOf(pid, proc, cgroups)];
  } catch {
    // Another host's, another user's, or a system without procfs.
    return [];
  }
  const near = limits.filter(({ used, max }) => used >= nearlyAll * max);
  if (near.length === 0)
    return [ok("process limits", limits.map(({ what, used, max }) => `${used} of ${max} ${what}`).join(", ") || "none")];
  return near.map(({ what, used, max, remedy }) =>
    warning("process limits", `${used} of ${max} ${what} are used: commands soon cannot be started, and wait`, remedy),
  );
}

function limitsOf(pid: number, proc: string): readonly Limit[] {
  const text = readFileSync(join(proc, String(pid), "limits"), "utf8");
  const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(join(proc, String(pid), "status"), "utf8"))?.[1];
  const processes = softLimit(text, "Max processes");
  const files = softLimit(text, "Max open files");
  return [
    // The kernel holds nobody with user id 0 to it.
    ...(processes === undefined || uid === undefined || uid === "0"
      ? []
      : [
          {
            what: `processes and threads of user ${uid}`,
            used: threadsOf(uid, proc),
            max: processes,
            remedy: "Raise `ulimit -u` (LimitNPROC in systemd), or end what has started many.",
          },
        ]),
    ...(files === undefined
      ? []
      : [
          {
            what: "open files",
            used: readdirSync(join(proc, String(pid), "fd")).length,
            max: files,
            remedy: "Raise `ulimit -n` (LimitNOFILE in systemd).",
          },
        ]),
  ];
}

/** Of the control group, in which containers and services count their processes. */
function groupLimitOf(pid: number, proc: string, cgroups: string): readonly Limit[] {
  const path = /^0::(.*)$/m.exec(readFileSync(join(proc, String(pid), "cgroup"), "utf8"))?.[1];
  if (path === undefined) return [];
  try {
    const max = Number(readFileSync(join(cgroups, path, "pids.max"), "utf8"));
    const used = Number(readFileSync(join(cgroups, path, "pids.current"), "utf8"));
    const remedy = "Raise TasksMax in systemd, `--pids-limit` of the container, or the pod's limit.";
    return Number.isFinite(max) ? [{ what: "processes and threads of the control group", used, max, remedy }] : [];
  } catch {
    // The controller is not on, or another version's.
    return [];
  }
}

/** Undefined: there is none. */
function softLimit(text: string, name: string): number | undefined {
  const found = new RegExp(`^${name}\\s+(\\d+)\\s`, "m").exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

function threadsOf(uid: string, proc: string): number {
  let threads = 0;
  for (const name of readdirSync(proc)) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = readFileSync(join(proc, name, "status"), "utf8");
      if (/^Uid:\s+(\d+)/m.exec(status)?.[1] === uid) threads += Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? 1);
    } catch {
      // It has ended.
    }
  }
  return threads;
}
