import { access, constants, stat } from "node:fs/promises";
import { delimiter, dirname, resolve } from "node:path";
import { codeOf } from "../../domain/errors.ts";
import type { PathAccess, PathOperation } from "../../files/foreign/path-operation.ts";

export interface ProgramSearch {
  /** A path, or a name that is looked for in `path`. */
  readonly program: string;
  /** Where relative paths start. */
  readonly cwd: string;
  /** As the variable PATH has it. */
  readonly path: string;
}

export type FoundProgram =
  | { readonly kind: "found"; readonly file: string }
  /** `code`: the kernel's name of the error, `ENOENT` where there is no such file. */
  | { readonly kind: "missing"; readonly code: string };

/** Where a program may lie: the folders that a shell looks into, in its order. */
export function programFolders({ program, cwd, path }: ProgramSearch): readonly string[] {
  if (program.includes("/")) return [dirname(resolve(cwd, program))];
  // An empty entry of PATH is the working directory.
  return path.split(delimiter).map((folder) => resolve(cwd, folder));
}

/**
 * Finds what a shell would execute. Like a shell it goes on to the next folder when a file may not be executed.
 *
 * @throws {WakefulError} `path_unanswered`: a folder that it may lie in does not answer.
 */
export async function findProgram(search: ProgramSearch, pathAccess: PathAccess): Promise<FoundProgram> {
  return await pathAccess.do(lookForProgram, search, { paths: candidatesFor(search) });
}

/** The files that may be the program. */
function candidatesFor(search: ProgramSearch): readonly string[] {
  const name = search.program.slice(search.program.lastIndexOf("/") + 1);
  return programFolders(search).map((folder) => resolve(folder, name));
}

export const lookForProgram: PathOperation<ProgramSearch, FoundProgram> = {
  name: "look-for-program",
  run: async (search) => {
    let code = "ENOENT";
    for (const file of candidatesFor(search)) {
      try {
        await access(file, constants.X_OK);
        if ((await stat(file)).isFile()) return { kind: "found", file };
        code = "EACCES";
      } catch (thrown) {
        const found = codeOf(thrown);
        if (found !== undefined && found !== "ENOENT") code = found;
      }
    }
    return { kind: "missing", code };
  },
};
