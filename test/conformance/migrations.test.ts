import { join } from "node:path";
import { CompiledQuery, sql } from "kysely";
import { describe, expect, onTestFinished, test } from "vitest";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import type { Migration, TextMigration } from "../../src/store/engine/migration.ts";
import { checkSchema, type MigrationTarget, migrate } from "../../src/store/engine/migrator.ts";
import { postgresMigrations } from "../../src/store/migrations/postgres.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { postgresTarget } from "../../src/store/postgres/client-config.ts";
import { PostgresEngine } from "../../src/store/postgres/engine.ts";
import { targetOf as postgresTargetOf } from "../../src/store/postgres/migration-target.ts";
import { SqliteConnection } from "../../src/store/sqlite/connection.ts";
import { SqliteEngine } from "../../src/store/sqlite/engine.ts";
import { targetOf as sqliteTargetOf } from "../../src/store/sqlite/migration-target.ts";
import { createDatabase } from "../support/postgres.ts";
import { StoreTestClock } from "../support/stores.ts";
import { tempDir } from "../support/temp-dir.ts";

const clock = new StoreTestClock();
const one: TextMigration = {
  number: 1,
  name: "one",
  text: `create table meta (name text primary key, value text not null);
    create table one (a integer not null); insert into one (a) values (1);`,
};
const two: TextMigration = { number: 2, name: "two", text: "create table two (a integer); insert into two (a) select a + 1 from one;" };
const broken: TextMigration = {
  number: 2,
  name: "broken",
  text: "create table half (a integer); insert into half (a) values (1); insert into nowhere values (1);",
};

/** An empty database that several programs can open at once. */
type OpenDatabase = () => Promise<() => MigrationTarget>;

async function onSqlite(): Promise<() => MigrationTarget> {
  const path = join(tempDir("migrations"), "wakeful.db");
  const connection = new SqliteConnection({ path });
  onTestFinished(() => connection.close());
  // The embedded engine has one owner, so its callers stand for programs.
  const target = sqliteTargetOf(new SqliteEngine({ connection, hints: new HintBoard(), now: () => clock.now() }));
  return () => target;
}

async function onPostgres(): Promise<() => MigrationTarget> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return () => {
    const engine = new PostgresEngine({
      target: postgresTarget({ url: database.url }),
      hints: new HintBoard(),
      now: () => clock.now(),
      poolSize: 2,
    });
    onTestFinished(() => engine.close());
    return postgresTargetOf(engine);
  };
}

async function tablesOf(target: MigrationTarget, names: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of names) {
    const exists = await target.kysely
      .executeQuery(sql`select 1 from ${sql.table(name)}`.compile(target.kysely))
      .then(() => true)
      .catch(() => false);
    if (exists) found.push(name);
  }
  return found;
}

function migrations(open: OpenDatabase, ours: readonly Migration[]): void {
  test("a store of the first version keeps its rows, and from then on takes runs that have no ceiling of their own", async () => {
    const target = (await open())();
    const addRun = async (id: number, maxRunningMs: number | null): Promise<void> => {
      await sql`insert into runs (id, job_id, attempt, state, kind, reserved_at, max_running_ms)
        values (${id}, ${id}, 1, 'reserved', 'command', 1, ${maxRunningMs})`.execute(target.kysely);
    };
    expect(await migrate(target, ours.slice(0, 1))).toBe(1);
    await addRun(1, 5000);
    await expect(addRun(2, null)).rejects.toThrow(/null/i);
    expect(await migrate(target, ours.slice(0, 2))).toBe(1);
    await addRun(2, null);
    const rows = await target.kysely.selectFrom("runs").select(["id", "max_running_ms"]).orderBy("id").execute();
    expect(rows).toEqual([
      { id: 1, max_running_ms: 5000 },
      { id: 2, max_running_ms: null },
    ]);
  });

  test("migrations are applied in order, once, and written down", async () => {
    const target = (await open())();
    expect(await migrate(target, [one])).toBe(1);
    expect(await migrate(target, [one, two])).toBe(1);
    expect(await migrate(target, [one, two])).toBe(0);
    const rows = await target.kysely.selectFrom("migrations").selectAll().orderBy("number").execute();
    expect(rows).toEqual([
      { number: 1, name: "one", applied_at: clock.now() },
      { number: 2, name: "two", applied_at: clock.now() },
    ]);
  });

  test("a migration that fails half-way leaves nothing of itself and can be replaced", async () => {
    const target = (await open())();
    await migrate(target, [one]);
    await expect(migrate(target, [one, broken])).rejects.toThrow(/nowhere/);
    expect(await tablesOf(target, ["one", "half"])).toEqual(["one"]);
    expect(await migrate(target, [one, two])).toBe(1);
  });

  test("of programs that migrate at once one does, the others find it done", async () => {
    const another = await open();
    const applied = await Promise.all([another(), another(), another()].map((target) => migrate(target, [one, two])));
    expect(applied.toSorted((a, b) => a - b)).toEqual([0, 0, 2]);
  });

  test("a schema that a newer program made is refused, an older one is told to be migrated", async () => {
    const target = (await open())();
    await migrate(target, [one, two]);
    await expect(migrate(target, [one])).rejects.toMatchObject({ code: "store_newer", details: { found: 2, known: 1 } });
    await expect(checkSchema(target, [one])).rejects.toMatchObject({ code: "store_newer" });
    await expect(checkSchema(target, [one, two, { ...two, number: 3 }])).rejects.toMatchObject({
      code: "store_older",
      details: { found: 2, known: 3 },
    });
    await expect(checkSchema(target, [one, two])).resolves.toBeUndefined();
  });
}

describe("SQLite", () => {
  migrations(onSqlite, sqliteMigrations);

  const family: TextMigration = {
    number: 1,
    name: "family",
    text: `create table meta (name text primary key, value text not null);
      create table parents (id integer primary key autoincrement, kind text not null check (kind in ('a')));
      create table children (id integer primary key, parent_id integer not null references parents (id));
      insert into parents (id, kind) values (7, 'a'); insert into children (id, parent_id) values (1, 7);`,
  };
  /** Rebuilds the parents without their CHECK, with the rows that `kept` selects. */
  const rebuild = (kept: string, rebuilds: boolean): TextMigration => ({
    number: 2,
    name: "rebuild",
    text: `create table new_parents (id integer primary key autoincrement, kind text not null);
      insert into new_parents (id, kind) select id, kind from parents where ${kept};
      drop table parents; alter table new_parents rename to parents;`,
    rebuilds,
  });
  const orphan = "insert into children (id, parent_id) values (2, 99)";

  async function openFamily(): Promise<{ readonly target: MigrationTarget; readonly run: (text: string) => Promise<unknown[]> }> {
    const target = (await onSqlite())();
    await migrate(target, [family]);
    const run = async (text: string): Promise<unknown[]> => (await target.kysely.executeQuery(CompiledQuery.raw(text))).rows;
    return { target, run };
  }

  test("a table that others refer to is made anew, and references are held again afterwards", async () => {
    const { target, run } = await openFamily();
    expect(await migrate(target, [family, rebuild("true", true)])).toBe(1);
    expect(await run("select * from children join parents on parents.id = parent_id")).toEqual([{ id: 7, parent_id: 7, kind: "a" }]);
    await run("insert into parents (kind) values ('b')");
    await expect(run(orphan)).rejects.toThrow(/FOREIGN KEY/);
  });

  test("a migration that rebuilds such a table without saying so fails and changes nothing", async () => {
    const { target, run } = await openFamily();
    await expect(migrate(target, [family, rebuild("true", false)])).rejects.toThrow(/FOREIGN KEY/);
    expect(await run("select * from parents")).toEqual([{ id: 7, kind: "a" }]);
  });

  test("a rebuild after which a row refers to nothing is rolled back, and says which row", async () => {
    const { target, run } = await openFamily();
    await expect(migrate(target, [family, rebuild("false", true)])).rejects.toMatchObject({
      code: "store_corrupt",
      message: expect.stringContaining("row 1 of children names a row of parents that does not exist"),
      details: { broken: ["row 1 of children names a row of parents that does not exist"], count: 1 },
    });
    expect(await run("select * from parents")).toEqual([{ id: 7, kind: "a" }]);
    expect(await run("select max(number) as newest from migrations")).toEqual([{ newest: 1 }]);
    await expect(run(orphan)).rejects.toThrow(/FOREIGN KEY/);
    expect(await migrate(target, [family, rebuild("true", true)])).toBe(1);
  });

  test("a rebuild that fails half-way leaves all as it was, references held", async () => {
    const { target, run } = await openFamily();
    const whole = rebuild("true", true);
    await expect(migrate(target, [family, { ...whole, text: `${whole.text} insert into nowhere values (1);` }])).rejects.toThrow(/nowhere/);
    expect(await run("select name from sqlite_schema where name like '%parents' order by name")).toEqual([{ name: "parents" }]);
    await expect(run("insert into parents (kind) values ('b')")).rejects.toThrow(/CHECK/);
    await expect(run(orphan)).rejects.toThrow(/FOREIGN KEY/);
  });

  test("whoever writes while tables are made anew waits for it, and is held to references", async () => {
    const { target, run } = await openFamily();
    await Promise.all([
      migrate(target, [family, rebuild("true", true)]),
      expect(run(orphan)).rejects.toThrow(/FOREIGN KEY/),
      run("insert into children (id, parent_id) values (3, 7)"),
    ]);
    expect(await run("select id from children order by id")).toEqual([{ id: 1 }, { id: 3 }]);
  });
});
describe("PostgreSQL", () => {
  migrations(onPostgres, postgresMigrations);
});
