/** What was being done when a start failed. */
export type StartStep =
  /** Our own records: the run's folder, the item's work directory. */
  | "run_folder"
  | "work_dir"
  /** A file that a stage takes a variable from. */
  | "secret"
  /** The stage's working directory. */
  | "cwd"
  /** Executing the stage's program. */
  | "program"
  /** Starting the shell that starts the program. */
  | "shell";

export interface StartFailure {
  /** Undefined: none of the steps that depend on the machine. */
  readonly step: StartStep | undefined;
  /** The kernel's name of the error, such as `ENOENT`. Undefined: it gave none, as for a step without an answer. */
  readonly code: string | undefined;
  /** The folder is on another disk than when the daemon started: a share that is not mounted, so what is missing there proves nothing. */
  readonly otherDevice: boolean;
}

/** `job`: it would fail so on every machine. `machine`: this host lacks something, and the job has no part in it. `ours`: a defect. */
export type StartBlame = "job" | "machine" | "ours";

/** Errors by which a program or a working directory is refused for what the stage says. */
const ownCodes: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "EACCES", "ENOEXEC", "E2BIG", "ELOOP", "EINVAL", "ENAMETOOLONG"]);

/** Who is to blame for a start that failed. Only what is surely the job's own is: a job pays for nothing that its host lacks. */
export function blameForStart({ step, code, otherDevice }: StartFailure): StartBlame {
  switch (step) {
    case undefined:
      return "ours";
    case "program":
    case "cwd":
      return code !== undefined && ownCodes.has(code) && !otherDevice ? "job" : "machine";
    case "shell":
    case "run_folder":
      // Arguments and input come from the job; the folder and the shell do not.
      return code === "E2BIG" ? "job" : "machine";
    case "work_dir":
    case "secret":
      return "machine";
  }
}

/** Whether what is missing is missing for every stage of the host, and not for one. */
export const isHostWide = ({ step, code }: Pick<StartFailure, "step" | "code">): boolean =>
  step === "shell" || step === "run_folder" || step === "work_dir" || (code !== undefined && hostCodes.has(code));

const hostCodes: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "EAGAIN", "ENOMEM"]);

/** What a person does about it. */
export function remedyForStart({ step, code, otherDevice }: StartFailure): string {
  if (otherDevice) return "Mount the share again: the folder is on another disk than when the daemon started.";
  const byCode = code === undefined ? undefined : remedies[code];
  if (byCode !== undefined) return byCode;
  switch (step) {
    case "secret":
      return "Give the daemon's user a regular file that it may read there.";
    case undefined:
      return "This is a defect: report it with this line.";
    case "shell":
      return processes;
    default:
      return "See that the disk or share answers and may be written to; `wakeful doctor` looks at this host.";
  }
}

const space = "Free some space and some files: `df -h` and `df -i` of the data directory show which is used up.";
const descriptors = "Raise the limit of open files (`ulimit -n`, LimitNOFILE in systemd), or close what holds many.";
const processes = "Raise the limit of processes (`ulimit -u`, TasksMax in systemd), or end what has started many.";
const share = "Mount the share again, or see why its server does not answer.";

const remedies: Readonly<Record<string, string>> = {
  ENOSPC: space,
  EDQUOT: "Raise the quota of the daemon's user, or free some of its files.",
  EMFILE: descriptors,
  ENFILE: descriptors,
  EAGAIN: processes,
  ENOMEM: "Free some memory, or raise the memory limit of the daemon's group.",
  EROFS: "The disk has become read-only: see the kernel's log, mend the disk and mount it for writing.",
  EIO: "The disk reports errors: see the kernel's log.",
  ESTALE: share,
  ENOTCONN: share,
  EHOSTDOWN: share,
};
