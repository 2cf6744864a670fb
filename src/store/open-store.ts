import { isPostgresUrl } from "../config/postgres-url.ts";
import { assembleStore } from "./assemble-store.ts";
import type { StoreClock } from "./engine/engine.ts";
import type { TellMigration } from "./engine/migration.ts";
import type { FirstChecks } from "./jobs/claim-rules.ts";
import type { Store } from "./port/store.ts";

export interface OpenStoreOptions {
  /** A file's path, `:memory:`, or `postgres://user:password@host/database` (with `?schema=name`, default `wakeful`). */
  readonly url: string;
  readonly clock: StoreClock;
  /** Embedded engine: whether a commit survives a power cut (`full`, the default) or only the death of the process (`normal`). */
  readonly synchronous?: "full" | "normal" | undefined;
  /** Embedded engine: take the lock that makes this process the file's one owner. Default true. */
  readonly lock?: boolean | undefined;
  /** Server engine: the most connections that ordinary statements use. Default 10. */
  readonly poolSize?: number | undefined;
  /** When claimed runs are first looked at. Default: by the default thresholds. */
  readonly checks?: FirstChecks | undefined;
  /** Told as the store's rows are moved to a newer schema, which may take minutes: many times a second. */
  readonly tellMigration?: TellMigration | undefined;
}

/**
 * Opens a store, migrating its schema where it is older than this program. The driver is loaded here, and only the one that the url
 * asks for.
 *
 * @throws {StoreLockedError} `store_locked`: another process owns the file.
 * @throws {StoreNewerError} `store_newer`: a newer program wrote it; nothing was changed.
 * @throws {StoreCorruptError} `store_corrupt`; {@link StoreReadOnlyError} `store_read_only`; {@link DiskFullError} `disk_full`.
 * @throws {StoreUnavailableError} `unavailable`: the server does not answer.
 * @throws {WakefulError} `config_invalid`: the url is none of a database.
 */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  const { url, clock, checks, poolSize, synchronous, lock, tellMigration } = options;
  if (isPostgresUrl(url)) {
    const { openPostgres } = await import("./postgres/open.ts");
    return assembleStore(await openPostgres({ url, clock, checks, poolSize, tellMigration }));
  }
  const { openSqlite } = await import("./sqlite/open.ts");
  return assembleStore(await openSqlite({ path: url, clock, checks, synchronous, lock, tellMigration }));
}

/**
 * Opens a store to read it: a file only when no process owns it, and without migrating either engine. Writes reject with
 * `store_read_only`.
 *
 * @throws As {@link openStore}, and {@link StoreOlderError} `store_older`: the schema is older than this program's.
 */
export async function openReadOnly(options: { readonly url: string; readonly clock: StoreClock }): Promise<Store> {
  const { url, clock } = options;
  if (isPostgresUrl(url)) {
    const { openPostgres } = await import("./postgres/open.ts");
    return assembleStore(await openPostgres({ url, clock, readOnly: true }));
  }
  const { openSqliteReadOnly } = await import("./sqlite/open.ts");
  return assembleStore(await openSqliteReadOnly({ path: url, clock }));
}
