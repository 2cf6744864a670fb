import { access, constants, stat } from "node:fs/promises";
import { delimiter, dirname, resolve } from "node:path";
import { codeOf } from "../../domain/errors.ts";

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

/** Finds what a shell would execute. Like a shell it goes on to the next folder when a file may not be executed. */
export async function findProgram(search: ProgramSearch): Promise<FoundProgram> {
  let code = "ENOENT";
  const name = search.program.slice(search.program.lastIndexOf("/") + 1);
  for (const folder of programFolders(search)) {
    const file = resolve(folder, name);
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
}
