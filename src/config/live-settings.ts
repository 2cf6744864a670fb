import { z } from "zod";
import { deepFreeze } from "../domain/deep-freeze.ts";
import type { Config } from "./config.ts";
import { ConfigError, type Finding, mistakeOf } from "./mistake.ts";
import { configShape } from "./schema.ts";
import { findingsOfZod, valueAt } from "./zod-findings.ts";

/** The thresholds and switches that loops read at each tick. */
export interface LiveValues {
  readonly reaper: Config["reaper"];
  readonly leases: Config["leases"];
  readonly loops: Config["loops"];
}

/** A change: only named settings change. Durations are milliseconds, or texts with a unit. */
export type LivePatch = { readonly [Section in keyof LiveValues]?: PatchOf<LiveValues[Section]> };
type PatchOf<T> = {
  readonly [Key in keyof T]?: T[Key] extends readonly unknown[] ? T[Key] : T[Key] extends object ? PatchOf<T[Key]> : T[Key];
};

/** One setting that changed, under its dotted key. */
export interface LiveChange {
  readonly key: string;
  readonly from: unknown;
  readonly to: unknown;
}

export interface LiveSettingsOptions {
  /** Relations to values that do not change at run time, such as the longest stage timeout; each finding refuses the change. */
  readonly check?: ((values: LiveValues) => readonly Finding[]) | undefined;
}

const liveSchema = z.strictObject({ reaper: configShape.reaper, leases: configShape.leases, loops: configShape.loops });
/** The timer of a loop is made once, so a change would silently have no effect. */
const fixedKeys = [["reaper", "intervalMs"]] as const;

/** Holds the settings that may change while the daemon runs. Each tick reads them again, so that a change needs no restart. */
export class LiveSettings {
  #values: LiveValues;
  readonly #check: (values: LiveValues) => readonly Finding[];

  constructor(initial: LiveValues, options: LiveSettingsOptions = {}) {
    const { reaper, leases, loops } = initial;
    this.#values = deepFreeze(structuredClone({ reaper, leases, loops }));
    this.#check = options.check ?? (() => []);
  }

  /** The values in force: one frozen object, so a tick that reads once sees no half-made change. */
  read(): LiveValues {
    return this.#values;
  }

  /**
   * Applies a change whole or not at all, and returns the values in force.
   * @throws {ConfigError} when a key is unknown, a value out of bounds, a relation broken, or a setting fixed at start.
   */
  update(patch: LivePatch): LiveValues {
    this.#values = this.preview(patch);
    return this.#values;
  }

  /** What {@link update} would put in force, without doing so. Throws the same errors. */
  preview(patch: LivePatch): LiveValues {
    const merged = merge(this.#values, patch);
    const parsed = liveSchema.safeParse(merged);
    const findings = parsed.success
      ? [...this.#fixedKeyFindings(parsed.data), ...this.#check(parsed.data)]
      : findingsOfZod(parsed.error, liveSchema, merged);
    if (!parsed.success || findings.length > 0) throw new ConfigError(findings.map((finding) => mistakeOf(finding, "settings")));
    return deepFreeze(parsed.data);
  }

  #fixedKeyFindings(next: LiveValues): Finding[] {
    return fixedKeys.flatMap((path) => {
      const value = valueAt(next, path);
      return value === valueAt(this.#values, path)
        ? []
        : [{ path, value, rule: "is fixed while the daemon runs: change the configuration and start it again" }];
    });
  }
}

/** Every setting under its dotted key; lists are not split. */
export function flatSettings(values: object): ReadonlyMap<string, unknown> {
  const flat = new Map<string, unknown>();
  const walk = (value: unknown, key: string): void => {
    if (!isMap(value)) flat.set(key, value);
    else for (const [name, member] of Object.entries(value)) walk(member, key === "" ? name : `${key}.${name}`);
  };
  walk(values, "");
  return flat;
}

/** The differences between two sets of values. */
export function changesBetween(before: LiveValues, after: LiveValues): readonly LiveChange[] {
  const old = flatSettings(before);
  return [...flatSettings(after)]
    .map(([key, to]) => ({ key, from: old.get(key), to }))
    .filter(({ from, to }) => JSON.stringify(from) !== JSON.stringify(to));
}

/** Merges `patch` over `base`, map by map; lists and values are replaced. */
function merge(base: unknown, patch: unknown): unknown {
  if (!isMap(base) || !isMap(patch)) return patch;
  const merged = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(patch)) {
    if (value !== undefined) merged.set(key, merge(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
