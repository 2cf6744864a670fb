import { open, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { hasCode, messageOf } from "../domain/errors.ts";
import { type Config, configOf } from "./config.ts";
import { ConfigError, type ConfigMistake, dottedPath, type Finding, inFileOrder, mistakeOf, shownValue } from "./mistake.ts";
import { type Environment, type Override, overridesOfEnvironment, overridesOfFlags } from "./overrides.ts";
import { isPostgresUrl } from "./postgres-url.ts";
import { listedSettings } from "./reference.ts";
import { brokenRelations, doubtfulSettings } from "./relations.ts";
import { configSchema } from "./schema.ts";
import { configFileBytesMax, readYaml } from "./yaml-source.ts";
import { findingsOfZod } from "./zod-findings.ts";

export interface ConfigRequest {
  /** Absolute. The folder in which the file is looked for, and where relative paths of variables and flags start. */
  readonly cwd: string;
  readonly env: Environment;
  /** By dotted key, such as `http.listen`. Texts are read like variables. Absent and empty flags set nothing. */
  readonly flags?: Readonly<Record<string, unknown>> | undefined;
  /** The file to read, instead of `WAKEFUL_CONFIG` or one in the working directory. */
  readonly file?: string | undefined;
}

/** The pipelines of a configuration file, not validated: their schema lies above this module. */
export interface PipelinesSource {
  /** What the file holds under `pipelines`. */
  readonly value: unknown;
  /** Gives a finding its place; its path begins with `pipelines`. */
  locate(finding: Finding): ConfigMistake;
}

/** A configuration and all its mistakes. `config` is absent when there are any. */
export interface ConfigReading {
  readonly config: Config | undefined;
  readonly mistakes: readonly ConfigMistake[];
  readonly warnings: readonly ConfigMistake[];
  readonly pipelines: PipelinesSource;
}

/** Reads file < environment < flags and reports all mistakes. Never throws for a bad configuration; starts nothing. */
export async function readConfig(request: ConfigRequest): Promise<ConfigReading> {
  const { file, mistakes: missing, path } = await openFile(request);
  const environment = overridesOfEnvironment(request.env);
  const flags = overridesOfFlags(request.flags ?? {});
  const overrides = [...environment.values, ...flags.values];
  const baseDir = path === undefined ? request.cwd : dirname(path);

  const { pipelines, ...settings } = isMap(file.value) ? file.value : {};
  const merged = withOverrides(settings, overrides, request.cwd);
  const locate = (finding: Finding): ConfigMistake => locateAmong(overrides, finding) ?? file.locate(finding);

  const parsed = configSchema.safeParse(merged);
  const config = parsed.success ? configOf(parsed.data, { baseDir, file: path }) : undefined;
  const findings = parsed.success ? [] : findingsOfZod(parsed.error, configSchema, merged);
  const shape =
    file.value === null || isMap(file.value) ? [] : [file.locate({ path: [], value: file.value, rule: "must be a map of settings" })];
  return {
    config,
    mistakes: inFileOrder([
      ...missing,
      ...file.mistakes,
      ...shape,
      ...flags.mistakes,
      ...[...findings, ...(config === undefined ? [] : brokenRelations(config))].map(locate),
    ]),
    warnings: [...environment.warnings, ...(config === undefined ? [] : doubtfulSettings(config).map(locate))],
    pipelines: { value: pipelines, locate },
  };
}

/**
 * The configuration without its pipelines.
 * @throws {ConfigError} with every mistake at once.
 */
export async function loadConfig(
  request: ConfigRequest,
): Promise<{ readonly config: Config; readonly warnings: readonly ConfigMistake[] }> {
  const { config, mistakes, warnings } = await readConfig(request);
  if (config === undefined || mistakes.length > 0) throw new ConfigError(mistakes, warnings);
  return { config, warnings };
}

const noFile: ConfigFile = {
  value: null,
  mistakes: [],
  locate: (finding) => ({
    source: "defaults",
    path: dottedPath(finding.path),
    value: shownValue(finding.value, finding.path),
    rule: finding.rule,
  }),
};

interface OpenedFile {
  readonly file: ConfigFile;
  readonly path: string | undefined;
  readonly mistakes: readonly ConfigMistake[];
}

async function openFile({ cwd, env, file }: ConfigRequest): Promise<OpenedFile> {
  const named = file ?? (env["WAKEFUL_CONFIG"] === "" ? undefined : env["WAKEFUL_CONFIG"]);
  const candidates = named === undefined ? await findConfigFiles(cwd) : [resolve(cwd, named)];
  const [path, other] = candidates;
  if (path === undefined) return { file: noFile, path: undefined, mistakes: [] };
  const ambiguous: ConfigMistake[] =
    other === undefined
      ? []
      : [
          {
            source: cwd,
            path: "",
            value: "",
            rule: `holds several configuration files (${candidates.join(", ")}); name one with --config`,
          },
        ];
  return { file: await readConfigFile(path), path, mistakes: ambiguous };
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** A copy of `settings` with the overrides applied. A section that is not a map stays, and validation reports it. */
function withOverrides(settings: Readonly<Record<string, unknown>>, overrides: readonly Override[], cwd: string): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...settings };
  for (const { path, value } of overrides) {
    const info = listedSettings.find((listed) => listed.path === path)?.info;
    const isRelativePath =
      info?.isPath === true && typeof value === "string" && value !== ":memory:" && !isPostgresUrl(value) && !value.includes("://");
    setAt(merged, path, isRelativePath ? resolve(cwd, value) : value);
  }
  return merged;
}

function setAt(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [step, ...rest] = path;
  if (step === undefined) return;
  if (rest.length === 0) {
    target[step] = value;
    return;
  }
  const below = target[step] ?? {};
  if (!isMap(below)) return;
  const copy = { ...below };
  target[step] = copy;
  setAt(copy, rest, value);
}

/** The place of a finding whose value came from a variable or a flag: the last override of a key is in force. */
function locateAmong(overrides: readonly Override[], finding: Finding): ConfigMistake | undefined {
  const key = dottedPath(finding.path);
  const override = overrides.findLast((candidate) => candidate.path.join(".") === key);
  if (override === undefined) return undefined;
  return {
    source: override.source,
    path: override.name,
    value: shownValue(override.given, finding.path),
    rule: finding.rule,
    hint: finding.hint,
  };
}

/** Names looked for in the working directory only: a search in parent folders could start a daemon with a stranger's file. */
const configFileNames = ["wakeful.yaml", "wakeful.yml", "wakeful.config.ts", "wakeful.config.js", "wakeful.config.mjs"] as const;
const moduleExtensions: ReadonlySet<string> = new Set([".ts", ".mts", ".js", ".mjs"]);

/** A configuration as its file holds it: raw data, and the place of each value. */
interface ConfigFile {
  readonly value: unknown;
  readonly mistakes: readonly ConfigMistake[];
  locate(finding: Finding): ConfigMistake;
}

/** The configuration files in `folder`. The caller refuses more than one. */
async function findConfigFiles(folder: string): Promise<readonly string[]> {
  const found = await Promise.all(configFileNames.map(async (name) => ((await exists(join(folder, name))) ? [join(folder, name)] : [])));
  return found.flat();
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    // Any error but "not found" is reported when the file is read.
    return !hasCode(error, "ENOENT");
  }
}

/** Reads YAML, or imports a module's default export. Unreadable files are mistakes, not exceptions. */
async function readConfigFile(path: string): Promise<ConfigFile> {
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
