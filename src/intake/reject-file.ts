import type { PathOperation } from "../files/foreign/path-operation.ts";
import { makeSharedDirectory } from "../files/make-directory.ts";
import { freePathIn, moveToFree } from "../files/move-file.ts";
import { replaceFile } from "../files/regular-file.ts";
import { reasonPath } from "../item-files/kept-source.ts";

interface Rejection {
  readonly path: Buffer;
  readonly errorDir: string;
  /** A safe name. */
  readonly name: string;
  /** What is written beside it. */
  readonly reason: string;
  /** Of the reason's file. Undefined: private. */
  readonly mode: number | undefined;
}

/**
 * Moves a refused file to the error folder with the reason beside it. The reason is written first: after a crash between the two, the next
 * look finds the file and writes the same reason again.
 */
export const rejectFile: PathOperation<Rejection, void> = {
  name: "reject-file",
  run: async ({ path, errorDir, name, reason, mode }, alive) => {
    await makeSharedDirectory(errorDir);
    const to = await freePathIn({ from: path, dir: errorDir, name });
    await replaceFile({ path: reasonPath(to), text: reason, mode });
    if (!(await moveToFree({ from: path, to, alive }))) throw new Error(`another file took the place ${to}; it is tried again`);
  },
};
