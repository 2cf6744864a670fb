import { open, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { hasCode, messageOf } from "../domain/errors.ts";
import { type ConfigMistake, type Finding, mistakeOf } from "./mistake.ts";
import { configFileBytesMax, readYaml } from "./yaml-source.ts";

/** Names that are looked for, in the working directory only: a daemon that searched the folders above would start with a stranger's file. */
const configFileNames = ["wakeful.yaml", "wakeful.yml", "wakeful.config.ts", "wakeful.config.js", "wakeful.config.mjs"] as const;
const moduleExtensions: ReadonlySet<string> = new Set([".ts", ".mts", ".js", ".mjs"]);

/** A configuration as its file holds it: raw data, and where each value stands. */
export interface ConfigFile {
  readonly value: unknown;
  readonly mistakes: readonly ConfigMistake[];
  locate(finding: Finding): ConfigMistake;
}

/** The configuration files in `folder`. More than one is for the caller to refuse. */
export async function findConfigFiles(folder: string): Promise<readonly string[]> {
  const found = await Promise.all(configFileNames.map(async (name) => ((await exists(join(folder, name))) ? [join(folder, name)] : [])));
  return found.flat();
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    // Anything but "there is none" is told when the file is read.
    return !hasCode(error, "ENOENT");
  }
}

/** Reads YAML, or imports a module's default export. What cannot be read is a mistake, not an exception. */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  return moduleExtensions.has(extname(path)) ? await importModule(path) : await readYamlFile(path);
}

async function readYamlFile(path: string): Promise<ConfigFile> {
  const name = basename(path);
  try {
    return readYaml(await readBounded(path), name);
  } catch (error) {
    return unreadable(name, `cannot be read: ${messageOf(error)}`);
  }
}

/** The text of a regular file; one byte over the limit is enough to know that it is too large. */
async function readBounded(path: string): Promise<string> {
  const handle = await open(path, "r");
  try {
    if (!(await handle.stat()).isFile()) throw new Error("it is not a regular file");
    const buffer = Buffer.alloc(configFileBytesMax + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) break;
    }
    if (length > configFileBytesMax) throw new Error(`it has more than ${configFileBytesMax} bytes`);
    return new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(0, length));
  } finally {
    await handle.close();
  }
}

async function importModule(path: string): Promise<ConfigFile> {
  const name = basename(path);
  try {
    const loaded: unknown = await import(pathToFileURL(path).href);
    const value = loaded !== null && typeof loaded === "object" && "default" in loaded ? loaded.default : undefined;
    if (value === undefined) return unreadable(name, "has no default export: write `export default { ... }`");
    return { value, mistakes: [], locate: (finding) => mistakeOf(finding, name) };
  } catch (error) {
    const isUnknownExtension = hasCode(error, "ERR_UNKNOWN_FILE_EXTENSION");
    const cure = isUnknownExtension
      ? "this Node.js reads no TypeScript: use 22.18 or newer, start with --import tsx, or write wakeful.config.js"
      : messageOf(error);
    return unreadable(name, `cannot be imported: ${cure}`);
  }
}

function unreadable(name: string, rule: string): ConfigFile {
  const locate = (finding: Finding): ConfigMistake => mistakeOf(finding, name);
  return { value: null, mistakes: [{ source: name, path: "", value: "", rule }], locate };
}
