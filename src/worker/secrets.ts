import { readFile } from "node:fs/promises";
import { resolve } from "node:path";

/** Reads the variables that a stage takes from files. One trailing newline, which editors add, is not part of a secret. Throws when a file cannot be read. */
export async function readSecrets(files: Readonly<Record<string, string>>, baseDir: string): Promise<Record<string, string>> {
  const secrets: Record<string, string> = {};
  for (const [name, path] of Object.entries(files)) secrets[name] = (await readFile(resolve(baseDir, path), "utf8")).replace(/\r?\n$/, "");
  return secrets;
}
