import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import { WakefulError } from "../domain/errors.ts";
import type { PathAccess, PathOperation } from "./foreign/path-operation.ts";

/**
 * Reads a stage's variables from files. One trailing newline, which editors add, is not part of a secret. Links are followed, as containers
 * mount secrets so; a FIFO would block a thread for ever, and is refused.
 *
 * @throws When a file cannot be read; `path_unanswered` when its disk does not answer.
 */
export async function readSecrets(
  files: Readonly<Record<string, string>>,
  { baseDir, access }: { readonly baseDir: string; readonly access: PathAccess },
): Promise<Record<string, string>> {
  const secrets: Record<string, string> = {};
  for (const [name, file] of Object.entries(files)) {
    const path = resolve(baseDir, file);
    secrets[name] = (await access.do(readSecretFile, path, { paths: [path] })).replace(/\r?\n$/, "");
  }
  return secrets;
}

export const readSecretFile: PathOperation<string, string> = {
  name: "read-secret",
  run: async (path) => {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile())
        throw new WakefulError("bad_request", `The secret ${path} is not a regular file.`, { details: { path } });
      return await file.readFile("utf8");
    } finally {
      await file.close();
    }
  },
};
