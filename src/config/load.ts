import { dirname, resolve } from "node:path";
import { type Config, configOf } from "./config.ts";
import { type ConfigFile, findConfigFiles, readConfigFile } from "./config-file.ts";
import { ConfigError, type ConfigMistake, dottedPath, type Finding, inFileOrder, shownValue } from "./mistake.ts";
import { type Environment, type Override, overridesOfEnvironment, overridesOfFlags } from "./overrides.ts";
import { isPostgresUrl } from "./postgres-url.ts";
import { listedSettings } from "./reference.ts";
import { brokenRelations, doubtfulSettings } from "./relations.ts";
import { configSchema } from "./schema.ts";
import { findingsOfZod } from "./zod-findings.ts";

export interface ConfigRequest {
  /** Absolute. Where the file is looked for, and where relative paths of variables and flags start. */
  readonly cwd: string;
  readonly env: Environment;
  /** By dotted key, such as `http.listen`. Texts are read as variables are. Absent and empty ones set nothing. */
  readonly flags?: Readonly<Record<string, unknown>>;
  /** The file, instead of `WAKEFUL_CONFIG` and of looking for one. */
  readonly file?: string;
}

/** The pipelines of a configuration file, unread: their schema lies above this module. */
export interface PipelinesSource {
  /** What the file holds under `pipelines`. */
  readonly value: unknown;
  /** Gives a finding its place; its path begins with `pipelines`. */
  locate(finding: Finding): ConfigMistake;
}

/** A configuration with everything that is wrong with it. `config` is absent when something is. */
export interface ConfigReading {
  readonly config: Config | undefined;
  readonly mistakes: readonly ConfigMistake[];
  readonly warnings: readonly ConfigMistake[];
  readonly pipelines: PipelinesSource;
}

/** Reads file < environment < flags and reports everything that is wrong. Never throws for a bad configuration; starts nothing. */
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

/** A copy of `settings` with the overrides in it. A section that is no map stays, and validation says so. */
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

/** The place of a finding whose value came from a variable or a flag; the last override of a key is the one in force. */
function locateAmong(overrides: readonly Override[], finding: Finding): ConfigMistake | undefined {
  const key = dottedPath(finding.path);
  const override = overrides.findLast((candidate) => candidate.path.join(".") === key);
  if (override === undefined) return undefined;
  return {
    source: override.source,
    path: override.name,
    value: shownValue(override.given, finding.path),
    rule: finding.rule,
    ...(finding.hint === undefined ? {} : { hint: finding.hint }),
  };
}
