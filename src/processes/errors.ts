import { WakefulError } from "../domain/errors.ts";

/** `runs/<id>` exists already: this run id was issued before, so the store is older than the disk and its epoch must rise. */
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

/** The wrapper of a command could not be brought to the point where it waits for `go`. Nothing of the run was executed. */
export class WrapperStartError extends WakefulError {
  override readonly name = "WrapperStartError";

  constructor(message: string, options: ErrorOptions & { details?: Readonly<Record<string, unknown>> } = {}) {
    super("wrapper_failed", message, options);
  }
}

/** A command, its environment or its limits cannot be handed to a process at all. Thrown before anything is touched. */
export class InvalidCommandError extends WakefulError {
  override readonly name = "InvalidCommandError";

  constructor(message: string, details: Readonly<Record<string, unknown>> = {}) {
    super("bad_request", message, { details });
  }
}
