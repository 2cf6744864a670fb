import { existsSync } from "node:fs";
import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";
import { postgresMigrations } from "../../src/store/migrations/postgres.ts";

export const isServer = (store: string): boolean => /^postgres(ql)?:/.test(store);

/** The first row that a statement answers, read beside the engine; `{}` for none. */
export async function askStore(store: string, text: string): Promise<Readonly<Record<string, unknown>>> {
  if (isServer(store)) return await withServer(store, async (client) => (await client.query<Record<string, unknown>>(text)).rows[0] ?? {});
  const db = new DatabaseSync(store);
  try {
    return (db.prepare(text).get() ?? {}) as Record<string, unknown>;
  } finally {
    db.close();
  }
}

/** The newest job's id; 0 for a store without jobs, or that is not made yet. */
export async function newestJob(store: string): Promise<number> {
  const made = isServer(store) ? (await askStore(store, "select to_regclass('wakeful.jobs') as made"))["made"] !== null : existsSync(store);
  return made ? Number((await askStore(store, "select coalesce(max(id), 0) as id from jobs"))["id"]) : 0;
}

/** What the tables take on the disk; indexes, and on SQLite what the log held, included. */
export async function bytesOf(store: string): Promise<number> {
  if (!isServer(store)) {
    if (!existsSync(store)) return 0;
    const { busy } = await askStore(store, "pragma wal_checkpoint(truncate)");
    if (busy !== 0) throw new Error("the log of the store is in use");
    const { bytes } = await askStore(store, "select page_count * page_size as bytes from pragma_page_count(), pragma_page_size()");
    return Number(bytes);
  }
  const { bytes } = await askStore(
    store,
    `select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 as bytes from pg_class c
     where c.relkind = 'r' and c.relnamespace = (select oid from pg_namespace where nspname = 'wakeful')`,
  );
  return Number(bytes);
}

/** From now on the server vacuums none of our tables. */
export async function switchVacuumOff(url: string): Promise<void> {
  await withServer(url, async (client) => {
    const { rows } = await client.query<{ name: string }>("select tablename as name from pg_tables where schemaname = 'wakeful'");
    for (const { name } of rows) await client.query(`alter table ${pg.escapeIdentifier(name)} set (autovacuum_enabled = off)`);
  });
}

/** Runs `body` with a connection that finds Wakeful's tables, and may write them as a program of this version. */
export async function withServer<Result>(url: string, body: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({
    connectionString: url,
    options: `-c search_path=wakeful,public -c wakeful.schema=${postgresMigrations.length}`,
  });
  await client.connect();
  try {
    return await body(client);
  } finally {
    await client.end();
  }
}
