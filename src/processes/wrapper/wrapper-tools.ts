import { delimiter, isAbsolute } from "node:path";
import { directAccess } from "../../files/foreign/path-operation.ts";
import { WrapperStartError } from "../errors.ts";
import { findProgram } from "./find-program.ts";

/** The programs of a wrapper, as absolute paths: PATH in a wrapper's environment is the command's. */
export interface WrapperTools {
  readonly shell: string;
  /** `undefined` where there is none (macOS): the command then shares its wrapper's session. */
  readonly setsid: string | undefined;
  readonly mkfifo: string;
  readonly sync: string;
  readonly mv: string;
  readonly nice: string;
}

/** A relative entry of PATH would name another program in each work directory. */
async function pathOf(program: string, path: string): Promise<string | undefined> {
  const absolute = path.split(delimiter).filter(isAbsolute).join(delimiter);
  const found = absolute === "" ? undefined : await findProgram({ program, cwd: "/", path: absolute }, directAccess);
  return found?.kind === "found" ? found.file : undefined;
}

/**
 * Finds the wrapper's programs, once, at a worker's start.
 *
 * @param options - `path` is the worker's own PATH; `shell` defaults to `/bin/sh`.
 * @throws {WrapperStartError} `wrapper_failed`, naming the programs that are missing. Only setsid may be.
 */
export async function findWrapperTools(options: { readonly path: string; readonly shell?: string }): Promise<WrapperTools> {
  const names = ["setsid", "mkfifo", "sync", "mv", "nice"] as const;
  const [setsid, mkfifo, sync, mv, nice] = await Promise.all(names.map((name) => pathOf(name, options.path)));
  if (mkfifo === undefined || sync === undefined || mv === undefined || nice === undefined) {
    throw new WrapperStartError(`Commands need the programs mkfifo, sync, mv and nice; not all are in the PATH ${options.path}.`, {
      details: { path: options.path, mkfifo, sync, mv, nice },
    });
  }
  return { shell: options.shell ?? "/bin/sh", setsid, mkfifo, sync, mv, nice };
}
