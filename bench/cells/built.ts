import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { question } from "./answer.ts";

/** The checkout whose build is measured: the one that the question names, else the cell's own. */
const { build = fileURLToPath(new URL("../..", import.meta.url)) } = question() as { build?: string };

/** The program that users start. */
export const wakeful = builtFile("dist/bin/wakeful.js");

/** What programs import. Reached by its public name alone, so that any revision can be measured. */
export const library = (await import(pathToFileURL(builtFile("dist/index.js")).href)) as typeof import("../../src/index.ts");

function builtFile(name: string): string {
  const path = join(build, name);
  if (!existsSync(path)) throw new Error(`${path} is missing: run npm run build first`);
  return path;
}
