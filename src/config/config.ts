import { isAbsolute, resolve } from "node:path";
import type { z } from "zod";
import { deepFreeze } from "../domain/deep-freeze.ts";
import { parseListen } from "./listen-address.ts";
import { isPostgresUrl } from "./postgres-url.ts";
import type { configSchema } from "./schema.ts";

type Settings = z.output<typeof configSchema>;

type DeepReadonly<T> = T extends readonly (infer Member)[]
  ? readonly DeepReadonly<Member>[]
  : T extends object
    ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
    : T;

/** The whole configuration but its pipelines: every default filled in, every relation checked, frozen. Paths are absolute. */
export type Config = DeepReadonly<Omit<Settings, "store" | "http">> & {
  /** Absolute path of an SQLite file, or a postgres:// URL. */
  readonly store: string;
  readonly http: { readonly listen: { readonly host: string; readonly port: number }; readonly allowedHosts: readonly string[] };
  /** Where relative paths of pipelines start: the folder of the configuration file, else the working directory. */
  readonly baseDir: string;
  /** Absolute path of the configuration file. */
  readonly file: string | undefined;
};

/** The default name of the store inside the data directory. */
const storeFile = "wakeful.db";

interface ConfigPlace {
  readonly baseDir: string;
  readonly file: string | undefined;
}

/** Finishes validated settings: derived defaults, absolute paths, one frozen object. */
export function configOf(settings: Settings, { baseDir, file }: ConfigPlace): Config {
  const dataDir = resolve(baseDir, settings.dataDir);
  const listen = parseListen(settings.http.listen);
  // The schema has refused every text that is no address.
  if (listen === undefined) throw new TypeError(`not a listening address: ${settings.http.listen}`);
  return deepFreeze({
    ...settings,
    dataDir,
    store: settings.store === undefined ? resolve(dataDir, storeFile) : absoluteStore(settings.store, baseDir),
    http: { ...settings.http, listen },
    worker: {
      ...settings.worker,
      handlers: settings.worker.handlers === undefined ? undefined : resolve(baseDir, settings.worker.handlers),
    },
    baseDir,
    file,
  });
}

/** URLs stay as they are; paths become absolute. */
function absoluteStore(store: string, baseDir: string): string {
  return isPostgresUrl(store) || isAbsolute(store) ? store : resolve(baseDir, store);
}
