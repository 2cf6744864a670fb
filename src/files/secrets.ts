import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import { WakefulError } from "../domain/errors.ts";

/**
 * Reads a stage's variables from files. One trailing newline, which editors add, is not part of a secret. Links are followed, as containers
 * mount secrets so; a FIFO would block a thread for ever, and is refused.
 *
 * @throws When a file cannot be read.
 */
export async function readSecrets(files: Readonly<Record<string, string>>, baseDir: string): Promise<Record<string, string>> {
  const secrets: Record<string, string> = {};
  for (const [name, path] of Object.entries(files)) secrets[name] = (await readSecret(resolve(baseDir, path))).replace(/\r?\n$/, "");
  return secrets;
}

async function readSecret(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile())
      throw new WakefulError("bad_request", `The secret ${path} is not a regular file.`, { details: { path } });
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}
