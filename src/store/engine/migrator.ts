import { CompiledQuery, type Kysely, sql, type Transaction } from "kysely";
import type { DurationMs, Instant } from "../../domain/time.ts";
import { StoreNewerError, StoreOlderError, StoreReferencesError } from "../port/errors.ts";
import type {
  IndexStep,
  Migration,
  MigrationProgress,
  MigrationStep,
  SlicedStep,
  SliceKey,
  SteppedMigration,
  TellMigration,
  TextMigration,
} from "./migration.ts";
import { readMeta, writeMeta } from "./store-epoch.ts";
import type { Database } from "./tables.ts";

/** What the migrator must know of its engine. */
export interface MigrationTarget {
  readonly kysely: Kysely<Database>;
  /** What error messages call the store. */
  readonly name: string;
  /** Whether the table of migrations is there. */
  hasHistory(db: Kysely<Database>): Promise<boolean>;
  now(): Instant;
  /** The most rows that one slice moves. */
  readonly sliceRowsMax: number;
  /** Runs `body` while no other program migrates the store. `hears` is told whom it waits for, and how far an index is. */
  alone<T>(body: (session: MigrationSession) => Promise<T>, hears: (news: MigrationNews) => void): Promise<T>;
}

export type MigrationNews = Pick<MigrationProgress, "done" | "total" | "waitsFor">;

/** The one that migrates. */
export interface MigrationSession {
  /** Statements outside a transaction. */
  readonly db: Kysely<Database>;
  /** Says which schema the statements from now on are for, as every program does where the server keeps older ones out. */
  sayVersion(number: number): Promise<void>;
  /** `rebuilds`: it may drop a table that others refer to. `body` may run again when a lock was not to be had. */
  transaction<T>(body: (tx: Transaction<Database>) => Promise<T>, options?: { readonly rebuilds: boolean }): Promise<T>;
  /** Runs a text of several statements. */
  runText(tx: Transaction<Database>, text: string): Promise<void>;
  /** Makes an index, or makes one whole that a kill left. */
  buildIndex(index: IndexStep): Promise<void>;
}

const historyText = `create table migrations (
  number integer primary key,
  name text not null,
  applied_at bigint not null
)`;

const sliceRowsFirst = 1000;
/** How long a slice may take, about. */
const sliceMs: DurationMs = 100;

/** The row of `meta` that says how many steps of the newest migration are done. Without it, that migration is complete. */
const stepKey = "migration_step";

/** What the store has: nobody has ever migrated it, or a number, and steps of it where it is not complete. */
type SchemaState = { readonly newest: number; readonly step: number | undefined } | undefined;

/**
 * Brings the schema to the newest version this program knows. A new store is made in one transaction. Of processes that migrate at once one
 * does, the others wait and find it done. Answers how many migrations it applied.
 *
 * @throws {StoreNewerError} A newer program has migrated it; nothing was changed. {@link StoreReferencesError} likewise.
 */
export async function migrate(target: MigrationTarget, migrations: readonly Migration[], tell?: TellMigration): Promise<number> {
  if (pendingAfter(target.name, await schemaState(target, target.kysely), migrations).length === 0) return 0;
  const migrator = new Migrator(target, newestOf(migrations), tell);
  return await target.alone(
    async (session) => await migrator.run(session, migrations),
    (news) => migrator.hear(news),
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
  const state = await schemaState(target, target.kysely);
  if (pendingAfter(target.name, state, migrations).length === 0) return;
  throw new StoreOlderError({
    store: target.name,
    found: state?.newest ?? 0,
    known: newestOf(migrations),
    underWay: state?.step !== undefined,
  });
}

class Migrator {
  readonly #target: MigrationTarget;
  readonly #schema: number;
  readonly #tell: TellMigration | undefined;
  #step = "before the first step";

  constructor(target: MigrationTarget, schema: number, tell: TellMigration | undefined) {
    this.#target = target;
    this.#schema = schema;
    this.#tell = tell;
  }

  hear(news: MigrationNews): void {
    this.#tell?.({ schema: this.#schema, step: this.#step, ...news });
  }

  async run(session: MigrationSession, migrations: readonly Migration[]): Promise<number> {
    let state = await schemaState(this.#target, session.db);
    if (state === undefined) {
      if (await this.#makeNew(session, migrations)) return migrations.length;
      state = await schemaState(this.#target, session.db);
    }
    const pending = pendingAfter(this.#target.name, state, migrations);
    const underWay = state?.step === undefined ? undefined : state.newest;
    // Half-way nothing can be left as it was any more.
    if (underWay === undefined) for (const migration of pending) await this.#refuseContradictions(session, migration);
    for (const group of groupsOf(pending)) {
      await session.sayVersion("steps" in group ? group.number : newestOf(group));
      if ("steps" in group) await this.#inSteps(session, group, group.number === underWay ? (state?.step ?? 0) : 0);
      else await this.#inOne(session, group);
    }
    return pending.length;
  }

  /** All migrations in one transaction, for there is no row to move. Answers whether it was the one that made the store. */
  async #makeNew(session: MigrationSession, migrations: readonly Migration[]): Promise<boolean> {
    return await session.transaction(
      async (tx) => {
        if (await this.#target.hasHistory(tx)) return false;
        await tx.executeQuery(CompiledQuery.raw(historyText));
        for (const migration of migrations) {
          for (const text of textsOf(migration)) await session.runText(tx, text);
          await this.#record(tx, migration);
        }
        return true;
      },
      { rebuilds: migrations.some(rebuilds) },
    );
  }

  async #inOne(session: MigrationSession, migrations: readonly TextMigration[]): Promise<void> {
    this.#begin(migrations.map(({ name }) => name).join(", "));
    await session.transaction(
      async (tx) => {
        for (const migration of migrations) {
          await session.runText(tx, migration.text);
          await this.#record(tx, migration);
        }
      },
      { rebuilds: migrations.some(rebuilds) },
    );
  }

  async #inSteps(session: MigrationSession, migration: SteppedMigration, from: number): Promise<void> {
    for (const [index, step] of migration.steps.entries()) {
      if (index < from) continue;
      this.#begin(stepName(step));
      await this.#carryOut(session, step, async (tx) => await this.#note(tx, migration, index + 1));
    }
  }

  async #refuseContradictions(session: MigrationSession, migration: Migration): Promise<void> {
    if (!("steps" in migration) || migration.contradictions === undefined) return;
    this.#begin("looking for rows that contradict each other");
    const { contradictions } = migration;
    let after: SliceKey | undefined;
    do {
      const from = after;
      const found = await session.transaction(async (tx) => await contradictions(tx, from));
      if (found.lines.length > 0) throw new StoreReferencesError({ store: this.#target.name, broken: found.lines });
      ({ after } = found);
    } while (after !== undefined);
  }

  /** `note` writes down that the step is done, with what it does where that is one transaction. */
  async #carryOut(session: MigrationSession, step: MigrationStep, note: (tx: Transaction<Database>) => Promise<void>): Promise<void> {
    if ("text" in step) {
      await session.transaction(async (tx) => {
        await session.runText(tx, step.text);
        await note(tx);
      });
      return;
    }
    if ("on" in step) await session.buildIndex(step);
    else await this.#slice(session, step);
    await session.transaction(note);
  }

  async #slice(session: MigrationSession, step: SlicedStep): Promise<void> {
    const total = await step.left(session.db);
    let after: SliceKey | undefined;
    let done = 0;
    let limit = Math.min(sliceRowsFirst, this.#target.sliceRowsMax);
    do {
      const page = { after, limit };
      const began = this.#target.now();
      const slice = await session.transaction(async (tx) => await step.slice(tx, page));
      limit = this.#nextLimit(limit, this.#target.now() - began);
      done += slice.moved;
      ({ after } = slice);
      this.hear({ done, total: total === undefined ? undefined : Math.max(done, total) });
    } while (after !== undefined);
  }

  /** Rows differ in size, and an embedded store's program does nothing else while a slice lasts. */
  #nextLimit(limit: number, tookMs: DurationMs): number {
    if (tookMs > sliceMs * 2) return Math.max(1, Math.floor(limit / 2));
    return tookMs < sliceMs / 2 ? Math.min(this.#target.sliceRowsMax, limit * 2) : limit;
  }

  #begin(step: string): void {
    this.#step = step;
    this.hear({});
  }

  async #record(tx: Transaction<Database>, { number, name }: Migration): Promise<void> {
    await tx.insertInto("migrations").values({ number, name, applied_at: this.#target.now() }).execute();
  }

  /** The number is there from the first step on, so that an older program refuses what is half-way. */
  async #note(tx: Transaction<Database>, migration: SteppedMigration, done: number): Promise<void> {
    if (done === 1) await this.#record(tx, migration);
    if (done < migration.steps.length) await writeMeta(tx, stepKey, String(done));
    else await tx.deleteFrom("meta").where("name", "=", stepKey).execute();
  }
}

/** Texts that stand side by side share a transaction. */
function groupsOf(migrations: readonly Migration[]): readonly (SteppedMigration | readonly TextMigration[])[] {
  const groups: (SteppedMigration | TextMigration[])[] = [];
  for (const migration of migrations) {
    const last = groups.at(-1);
    if ("steps" in migration) groups.push(migration);
    else if (Array.isArray(last)) last.push(migration);
    else groups.push([migration]);
  }
  return groups;
}

/** What makes the shape alone. */
function textsOf(migration: Migration): readonly string[] {
  if ("text" in migration) return [migration.text];
  return migration.steps.flatMap((step) => ("text" in step ? [step.text] : "on" in step ? [indexText(step)] : []));
}

/** The statement that makes an index; `how`: words before its name. */
export function indexText({ name, on, unique = false }: IndexStep, how = ""): string {
  return `create ${unique ? "unique " : ""}index ${how}${name} on ${on}`;
}

const stepName = (step: MigrationStep): string => ("on" in step ? `index ${step.name}` : step.name);
const rebuilds = (migration: Migration): boolean => "text" in migration && migration.rebuilds === true;

function pendingAfter(store: string, state: SchemaState, migrations: readonly Migration[]): readonly Migration[] {
  const known = newestOf(migrations);
  const { newest: found, step } = state ?? { newest: 0, step: undefined };
  if (found > known) throw new StoreNewerError({ store, found, known });
  return migrations.filter(({ number }) => number > found || (number === found && step !== undefined));
}

function newestOf(migrations: readonly Migration[]): number {
  return Math.max(0, ...migrations.map((migration) => migration.number));
}

async function schemaState(target: Pick<MigrationTarget, "hasHistory">, db: Kysely<Database>): Promise<SchemaState> {
  if (!(await target.hasHistory(db))) return undefined;
  const row = await db.selectFrom("migrations").select(sql<number | null>`max(number)`.as("newest")).executeTakeFirst();
  const step = await readMeta(db, stepKey);
  return { newest: row?.newest ?? 0, step: step === undefined ? undefined : Number(step) };
}
