import { configSchema } from "./schema.ts";
import { type SettingInfo, settingInfo } from "./setting.ts";
import { objectSchemaOf } from "./zod-findings.ts";

/** A setting and where it stands in the configuration. */
export interface ListedSetting {
  readonly path: readonly string[];
  readonly key: string;
  /** Our own variable, before those of other systems. */
  readonly variable: string;
  readonly info: SettingInfo;
}

/** Every setting, in the order of the schema. */
export const listedSettings: readonly ListedSetting[] = listSettings(configSchema, []);

function listSettings(schema: unknown, path: readonly string[]): ListedSetting[] {
  return Object.entries(objectSchemaOf(schema)?.shape ?? {}).flatMap(([name, member]) => {
    const here = [...path, name];
    const info = settingInfo.get(member);
    return info === undefined ? listSettings(member, here) : [{ path: here, key: here.join("."), variable: variableOf(here), info }];
  });
}

/** `worker.renewMs` is `WAKEFUL_WORKER_RENEW_MS`. */
function variableOf(path: readonly string[]): string {
  const words = path.map((step) =>
    step
      .replaceAll(/([a-z])([A-Z])/g, "$1_$2")
      .replaceAll("-", "_")
      .toUpperCase(),
  );
  return `WAKEFUL_${words.join("_")}`;
}

/** One row of docs/configuration.md. */
export interface ConfigReferenceRow {
  readonly key: string;
  /** Variables that set it; the first one that is set wins. */
  readonly env: readonly string[];
  readonly type: string;
  /** As text; empty: none. */
  readonly default: string;
  readonly unit: string;
  readonly bounds: string;
  readonly meaning: string;
}

/** What docs/configuration.md is made from. */
export function configReference(): readonly ConfigReferenceRow[] {
  return listedSettings.map(({ key, variable, info }) => ({
    key,
    env: [
      variable,
      ...info.aliases.map((alias) => (alias.unit === undefined ? alias.name : `${alias.name} (${alias.unit})`)),
      ...(info.assembled === undefined ? [] : [info.assembled.names.join(" and ")]),
    ],
    type: info.type,
    default: info.default,
    unit: info.unit,
    bounds: info.bounds,
    meaning: info.meaning,
  }));
}
