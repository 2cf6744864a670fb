import { WakefulError } from "../domain/errors.ts";

/** `runs/<id>` exists already, so this run id was issued before. The store is older than the disk, and its epoch must rise. */
export class RunDirectoryExistsError extends WakefulError {
  override readonly name = "RunDirectoryExistsError";
  readonly runDir: string;

  constructor(runDir: string, options?: ErrorOptions) {
    super("run_dir_exists", `The run directory ${runDir} exists already; raise the store epoch and end this run as never started.`, {
      ...options,
      details: { runDir },
    });
    this.runDir = runDir;
  }
}

/** The host id file holds no id. It is never replaced: the host id decides which runs are this host's own. */
export class DamagedHostIdError extends WakefulError {
  override readonly name = "DamagedHostIdError";
  readonly path: string;

  constructor(path: string, options?: ErrorOptions) {
    super(
      "host_id_damaged",
      `${path} is damaged: it must be one line of 8 to 64 letters, digits and dashes. Restore it from a backup. Under a new id this host is another host to the store, and what runs here now would be nobody's: its runs would be judged by silence alone and begun again beside the living ones. Only when nothing of this host is running, remove the file, and the next start makes a new id.`,
      { ...options, details: { path } },
    );
    this.path = path;
  }
}

/** The wrapper of a command did not get as far as waiting for `go`. Nothing of the run was executed. */
export class WrapperStartError extends WakefulError {
  override readonly name = "WrapperStartError";
  /** What was being done. */
  readonly step: "run_folder" | "cwd" | "shell";

  constructor(
    message: string,
    { step, ...options }: ErrorOptions & { step?: WrapperStartError["step"]; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super("wrapper_failed", message, options);
    this.step = step ?? "shell";
  }
}

/** A command, its environment or its limits cannot be given to a process at all. Thrown before anything is changed. */
export class InvalidCommandError extends WakefulError {
  override readonly name = "InvalidCommandError";

  constructor(message: string, details: Readonly<Record<string, unknown>> = {}) {
    super("bad_request", message, { details });
  }
}
