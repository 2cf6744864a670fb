import { safeFileName } from "../files/file-name.ts";
import { makeDirectory } from "../files/make-directory.ts";
import { freePathIn, moveToFree } from "../files/move-file.ts";
import { replaceFile } from "../files/regular-file.ts";
import { reasonPath } from "../item-files/kept-source.ts";
import type { FoundFile } from "./intake-folder.ts";

export interface Rejection {
  readonly file: FoundFile;
  readonly errorDir: string;
  readonly pipeline: string;
  readonly code: string;
  readonly reason: string;
  /** Wall time for people. */
  readonly at: string;
}

/**
 * Moves a refused file to the error folder, with the reason beside it. The reason is written first: after a crash between the two the
 * next look finds the file where it was and writes the same reason again.
 */
export async function rejectFile({ file, errorDir, pipeline, code, reason, at }: Rejection): Promise<string> {
  await makeDirectory(errorDir);
  const to = await freePathIn({ from: file.path, dir: errorDir, name: safeFileName(file.label) });
  await replaceFile({
    path: reasonPath(to),
    text: `${JSON.stringify({ fileName: file.label, pipeline, code, reason, sizeBytes: file.sizeBytes, at }, null, 2)}\n`,
  });
  if (!(await moveToFree({ from: file.path, to }))) throw new Error(`another file took the place ${to}; it is tried again`);
  return to;
}
