import { CompiledQuery, type Kysely, sql, type Transaction } from "kysely";
import type { Instant } from "../../domain/time.ts";
import { StoreNewerError, StoreOlderError } from "../port/errors.ts";
import type { Database } from "./tables.ts";

/** One step of the schema: frozen text, numbered from 1 without gaps. */
export interface Migration {
  readonly number: number;
  readonly name: string;
  readonly text: string;
  /** Drops a table that others refer to. Foreign keys are off in its transaction; `foreign_key_check` runs at its end. */
  readonly rebuilds?: boolean | undefined;
}

/** What the migrator must know of its engine. */
export interface MigrationTarget {
  readonly kysely: Kysely<Database>;
  /** What error messages call the store. */
  readonly name: string;
  /** One transaction in which nobody else migrates. `rebuilds`: it may drop a table that others refer to. */
  transaction<T>(body: (tx: Transaction<Database>) => Promise<T>, options: { readonly rebuilds: boolean }): Promise<T>;
  /** Runs a text of several statements. */
  runText(tx: Transaction<Database>, text: string): Promise<void>;
  /** Whether the table of migrations is there. */
  hasHistory(db: Kysely<Database>): Promise<boolean>;
  now(): Instant;
}

const historyText = `create table migrations (
  number integer primary key,
  name text not null,
  applied_at bigint not null
)`;

/**
 * Brings the schema to the newest version this program knows, all in one transaction: a failure leaves what was there before. Of
 * processes that migrate at once one does, the others find it done. Answers how many migrations it applied.
 *
 * @throws {StoreNewerError} A newer program has migrated it; nothing was changed.
 */
export async function migrate(target: MigrationTarget, migrations: readonly Migration[]): Promise<number> {
  // Asked before the transaction, because in one it is too late to say so. Another program can only leave less to do.
  const rebuilds = pendingAfter(target.name, (await schemaNumber(target, target.kysely)) ?? 0, migrations).some((each) => each.rebuilds);
  return await target.transaction(
    async (tx) => {
      const found = await schemaNumber(target, tx);
      if (found === undefined) await tx.executeQuery(CompiledQuery.raw(historyText));
      const pending = pendingAfter(target.name, found ?? 0, migrations);
      for (const migration of pending) {
        await target.runText(tx, migration.text);
        await tx.insertInto("migrations").values({ number: migration.number, name: migration.name, applied_at: target.now() }).execute();
      }
      return pending.length;
    },
    { rebuilds },
  );
}

/**
 * For openings that may not write: refuses a schema that is not exactly this program's.
 *
 * @throws {StoreNewerError | StoreOlderError}
 */
export async function checkSchema(
  target: Pick<MigrationTarget, "kysely" | "name" | "hasHistory">,
  migrations: readonly Migration[],
): Promise<void> {
  const found = (await schemaNumber(target, target.kysely)) ?? 0;
  if (pendingAfter(target.name, found, migrations).length > 0)
    throw new StoreOlderError({ store: target.name, found, known: newestOf(migrations) });
}

function pendingAfter(store: string, found: number, migrations: readonly Migration[]): readonly Migration[] {
  const known = newestOf(migrations);
  if (found > known) throw new StoreNewerError({ store, found, known });
  return migrations.filter((migration) => migration.number > found);
}

function newestOf(migrations: readonly Migration[]): number {
  return Math.max(0, ...migrations.map((migration) => migration.number));
}

/** Undefined: nobody has ever migrated it. */
async function schemaNumber(target: Pick<MigrationTarget, "hasHistory">, db: Kysely<Database>): Promise<number | undefined> {
  if (!(await target.hasHistory(db))) return undefined;
  const row = await db.selectFrom("migrations").select(sql<number | null>`max(number)`.as("newest")).executeTakeFirst();
  return row?.newest ?? 0;
}
