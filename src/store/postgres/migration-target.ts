import { setTimeout as sleep } from "node:timers/promises";
import { CompiledQuery, type Kysely, sql, type Transaction } from "kysely";
import { WakefulError } from "../../domain/errors.ts";
import type { IndexStep } from "../engine/migration.ts";
import { indexText, type MigrationSession, type MigrationTarget } from "../engine/migrator.ts";
import type { Database } from "../engine/tables.ts";
import type { PostgresTarget } from "./client-config.ts";
import type { PostgresEngine } from "./engine.ts";
import { isLocked, mayRunAgain, postgresFailure } from "./failures.ts";
import { kyselyOn } from "./kysely-on.ts";
import { MigrationWatch } from "./migration-watch.ts";
import { StoreClient } from "./store-client.ts";

/**
 * How long a step waits for each lock. Whoever comes meanwhile waits behind it, so it gives up soon, lets them pass and asks again.
 * A step that wants all five tables keeps nobody for a second.
 */
const lockTimeoutMs = 150;
const lockAgainMs = 250;
const triesMax = 5;
/** How often a program looks whether the other has migrated the store. */
const otherAgainMs = 250;

/** What the migrator needs of the server engine: one connection, whose lock stands for "nobody else migrates", and its schema is made there. */
export function targetOf(engine: PostgresEngine): MigrationTarget {
  const { kysely } = engine;
  return {
    kysely,
    name: engine.target.name,
    now: engine.now,
    sliceRowsMax: 20_000,
    hasHistory: async (db) => {
      const rights = await schemaRights(engine.target.schema, db);
      if (rights.history && !rights.mayRead) throw mayNotUse(rights);
      return rights.history;
    },
    alone: async (body, hears) => {
      // Everything on the connection that holds the lock: whoever loses the one has lost the other.
      const client = new StoreClient(unlimited(engine.target));
      const watch = new MigrationWatch(engine.target, { hears, lost: (why) => client.destroy(why) });
      try {
        await client.connect();
        const db = kyselyOn(client);
        await takeLock(engine, db, watch);
        return await body(sessionOf(engine, db));
      } catch (thrown) {
        throw postgresFailure(thrown, engine.target.name, engine.target);
      } finally {
        await watch.stop();
        await client.end();
      }
    },
  };
}

/** Asked again and again: a session that waits for a lock holds a snapshot, for which an index that is being made would wait in turn. */
async function takeLock({ target }: PostgresEngine, db: Kysely<Database>, watch: MigrationWatch): Promise<void> {
  for (;;) {
    const { rows } = await sql<{ taken: boolean; pid: number }>`
      select pg_try_advisory_lock(hashtext(${`wakeful migration under way in ${target.schema}`})) as taken, pg_backend_pid() as pid`.execute(
      db,
    );
    const [row] = rows;
    if (row?.taken === true) {
      watch.start(row.pid);
      break;
    }
    watch.otherMigrates();
    await sleep(otherAgainMs);
  }
  await db.executeQuery(CompiledQuery.raw(endWithClient));
}

/** A look at ten million rows takes longer than any other statement of ours may. An index waits for whoever began before it. */
function unlimited(target: PostgresTarget): PostgresTarget {
  return { ...target, answerMs: undefined, settings: { ...target.settings, statement_timeout: "0", lock_timeout: "0" } };
}

/** After a kill the session would finish its index first, with the lock in its hands. Not every platform and version can look. */
const endWithClient = `do $$ begin perform set_config('client_connection_check_interval', '2000', false); exception when others then null; end $$`;

function sessionOf(engine: PostgresEngine, db: Kysely<Database>): MigrationSession {
  return {
    db,
    sayVersion: async (number) => {
      await sql`select set_config('wakeful.schema', ${String(number)}, false)`.execute(db);
    },
    transaction: async (body) => await inTransaction(engine, db, body),
    runText: async (tx, text) => {
      await tx.executeQuery(CompiledQuery.raw(text));
    },
    buildIndex: async (index) => await buildIndex(db, index),
  };
}

async function inTransaction<T>(engine: PostgresEngine, db: Kysely<Database>, body: (tx: Transaction<Database>) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await db.transaction().execute(async (tx) => {
        await prepare(engine, tx);
        return await body(tx);
      });
    } catch (thrown) {
      // Somebody's transaction may last for hours, and is reported meanwhile.
      if (!isLocked(thrown) && (tries >= triesMax || !mayRunAgain(thrown))) throw thrown;
      await sleep(lockAgainMs);
    }
  }
}

async function prepare({ target: { schema } }: PostgresEngine, tx: Transaction<Database>): Promise<void> {
  // The lock that programs of before this way of migrating take: their migration may take long.
  await sql`select pg_advisory_xact_lock(hashtext(${`wakeful migrations of ${schema}`}))`.execute(tx);
  await makeSchema(schema, tx);
  // Slices go by index, whatever the planner thinks of tables that change so fast.
  await tx.executeQuery(
    CompiledQuery.raw(`set local lock_timeout = ${lockTimeoutMs}; set local enable_seqscan = off; set local enable_bitmapscan = off;
      set local enable_hashjoin = off; set local enable_mergejoin = off`),
  );
}

interface SchemaRights {
  readonly exists: boolean;
  /** The table of migrations is there: that of this schema, for an application may have one of the same name. */
  readonly history: boolean;
  readonly mayRead: boolean | null;
  readonly mayFill: boolean | null;
  readonly mayMake: boolean;
  /** As statements name them. */
  readonly role: string;
  readonly database: string;
  readonly schema: string;
}

/** Asked of the catalogue, which answers without any right to the schema. */
async function schemaRights(schema: string, db: Kysely<Database>): Promise<SchemaRights> {
  const { rows } = await sql<SchemaRights>`
    select oid is not null as exists,
      exists (select from pg_class where relname = 'migrations' and relnamespace = found.oid) as history,
      has_schema_privilege(oid, 'usage') as "mayRead", has_schema_privilege(oid, 'create') as "mayFill",
      has_database_privilege(current_database(), 'create') as "mayMake",
      quote_ident(current_user) as role, quote_ident(current_database()) as database, quote_ident(${schema}) as schema
    from (select (select oid from pg_namespace where nspname = ${schema}) as oid) found`.execute(db);
  const [rights] = rows;
  if (rights === undefined) throw new Error("the server did not say what its role may");
  return rights;
}

/** Asked first: making a schema needs a right that a role may lack whose schema was made for it. */
async function makeSchema(name: string, tx: Transaction<Database>): Promise<void> {
  const rights = await schemaRights(name, tx);
  if (rights.mayRead === true && rights.mayFill === true) return;
  if (rights.exists) throw mayNotUse(rights);
  const { role, database, schema } = rights;
  if (!rights.mayMake)
    throw new WakefulError(
      "config_invalid",
      `role ${role} may not create schema ${schema} in ${database}: GRANT CREATE ON DATABASE ${database} TO ${role}`,
    );
  await tx.executeQuery(CompiledQuery.raw(`create schema ${schema}`));
}

function mayNotUse({ role, database, schema }: SchemaRights): WakefulError {
  return new WakefulError(
    "config_invalid",
    `role ${role} may not use schema ${schema} in ${database}: GRANT USAGE, CREATE ON SCHEMA ${schema} TO ${role}`,
  );
}

/** Readers and writers go on meanwhile. What a kill leaves of such an index is not valid, and serves nobody. */
async function buildIndex(db: Kysely<Database>, index: IndexStep): Promise<void> {
  const { rows } = await sql<{
    valid: boolean;
  }>`select indisvalid as valid from pg_index where indexrelid = to_regclass(${index.name})`.execute(db);
  if (rows[0]?.valid === true) return;
  if (rows.length > 0) await db.executeQuery(CompiledQuery.raw(`drop index concurrently ${index.name}`));
  await db.executeQuery(CompiledQuery.raw(indexText(index, "concurrently ")));
}
