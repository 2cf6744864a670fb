import { nearestWord } from "./edit-distance.ts";
import type { ConfigMistake } from "./mistake.ts";
import { shownValue } from "./mistake.ts";
import { listedSettings } from "./reference.ts";
import type { SettingInfo } from "./setting.ts";

/** The process's environment, handed in. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A value that overrides the file's, and its origin. */
export interface Override {
  readonly path: readonly string[];
  readonly value: unknown;
  readonly source: "environment" | "flags";
  /** The variable's or flag's name. */
  readonly name: string;
  /** As it was given. */
  readonly given: unknown;
}

export interface Overrides {
  readonly values: readonly Override[];
  readonly mistakes: readonly ConfigMistake[];
  readonly warnings: readonly ConfigMistake[];
}

/** Variables of ours that are no settings: those of the command line, and those that every job is given. */
const otherVariables: ReadonlySet<string> = new Set([
  "WAKEFUL_CONFIG",
  "WAKEFUL_URL",
  "WAKEFUL_TOKEN",
  ...["JOB_ID", "RUN_ID", "ITEM_KEY", "STAGE", "ATTEMPT", "WORK_DIR", "HEARTBEAT_FILE", "PROGRESS_FILE", "INPUT_FILE", "OUTPUT_FILE"].map(
    (name) => `WAKEFUL_${name}`,
  ),
]);

/** The settings that variables set. An empty variable counts as unset. Our own name wins over those of other systems. */
export function overridesOfEnvironment(env: Environment): Overrides {
  const values: Override[] = [];
  const warnings: ConfigMistake[] = [];
  for (const { path, variable, info } of listedSettings) {
    const given = [{ name: variable }, ...info.aliases].flatMap((alias) => {
      const text = env[alias.name];
      return text === undefined || text.trim() === ""
        ? []
        : [{ name: alias.name, text, value: info.fromText(text, "unit" in alias ? alias.unit : undefined) }];
    });
    given.push(...assembledValue(info.assembled, env));
    const [winner, ...others] = given;
    if (winner === undefined) continue;
    values.push({ path, value: winner.value, source: "environment", name: winner.name, given: winner.text });
    for (const other of others.filter(({ value }) => JSON.stringify(value) !== JSON.stringify(winner.value))) {
      warnings.push({
        source: "environment",
        path: other.name,
        value: shownValue(other.text, []),
        rule: `is not used: ${winner.name} says otherwise and comes first`,
      });
    }
  }
  return { values, mistakes: [], warnings: [...warnings, ...misspelledVariables(env)] };
}

function assembledValue(
  assembled: SettingInfo["assembled"],
  env: Environment,
): readonly { readonly name: string; readonly text: string; readonly value: unknown }[] {
  if (assembled === undefined) return [];
  const set = assembled.names.filter((name) => (env[name] ?? "").trim() !== "");
  if (set.length === 0) return [];
  const value = assembled.join(Object.fromEntries(set.map((name) => [name, env[name]?.trim()])));
  return [{ name: set.join(" and "), text: value, value }];
}

function misspelledVariables(env: Environment): ConfigMistake[] {
  const known = listedSettings.map(({ variable }) => variable);
  return Object.keys(env).flatMap((name) => {
    if (!name.startsWith("WAKEFUL_") || otherVariables.has(name) || known.includes(name)) return [];
    const hint = nearestWord(
      name.slice("WAKEFUL_".length),
      known.map((variable) => variable.slice("WAKEFUL_".length)),
    );
    if (hint === undefined) return [];
    return [{ source: "environment", path: name, value: "", rule: "sets nothing", hint: `WAKEFUL_${hint}` }];
  });
}

/** The settings that flags set by their dotted key. Texts are read like a variable's. */
export function overridesOfFlags(flags: Readonly<Record<string, unknown>>): Overrides {
  const values: Override[] = [];
  const mistakes: ConfigMistake[] = [];
  for (const [key, given] of Object.entries(flags)) {
    if (given === undefined || given === "") continue;
    const setting = listedSettings.find((listed) => listed.key === key);
    if (setting === undefined) {
      const hint = nearestWord(
        key,
        listedSettings.map((listed) => listed.key),
      );
      mistakes.push({
        source: "flags",
        path: key,
        value: shownValue(given, []),
        rule: "is not a setting",
        hint,
      });
      continue;
    }
    values.push({
      path: setting.path,
      value: typeof given === "string" ? setting.info.fromText(given) : given,
      source: "flags",
      name: key,
      given,
    });
  }
  return { values, mistakes, warnings: [] };
}
