import fc from "fast-check";
import pg from "pg";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { postgresTarget } from "../../src/store/postgres/client-config.ts";
import { type BoundStatement, RolledBack, TurnConnection } from "../../src/store/postgres/turn-connection.ts";
import { createDatabase, queryOnce, type TestDatabase } from "../support/postgres.ts";
import { until } from "../support/until.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await queryOnce(database.url, "create schema wakeful; create table wakeful.t (id bigint primary key, note text)");
  return async () => await database.drop();
});

const statement = (name: string, text: string, values: readonly unknown[]): BoundStatement => ({ statement: { name, text }, values });
const insert = (id: number) => statement("insert", "insert into t (id) values ($1)", [id]);
const insertAll = (ids: readonly number[]) =>
  statement("insert_all", "insert into t (id) select unnest($1::bigint[]) returning id, note", [ids]);
const count = (ids: readonly number[]) => statement("count", "select count(*) from t where id = any($1::bigint[])", [ids]);

async function openTurns(): Promise<TurnConnection> {
  const turns = await TurnConnection.open(postgresTarget({ url: database.url }));
  onTestFinished(async () => await turns.end());
  return turns;
}

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  onTestFinished(async () => await client.end());
  return client;
}

test("statements of a turn see what those before them wrote, and each is answered with its own rows", async () => {
  const turns = await openTurns();
  expect(await turns.run([insertAll([1, 2]), count([1, 2, 3]), insert(3), count([1, 2, 3])])).toEqual([
    [
      [1, null],
      [2, null],
    ],
    [[2]],
    [],
    [[3]],
  ]);
  expect(await turns.run([])).toEqual([]);
});

test("whatever text and numbers are given reach the server as they are", async () => {
  const turns = await openTurns();
  const echo = "select $1::text, $2::bigint, $3::text[], $4::bigint[], $5::boolean";
  // The server's text holds no NUL.
  const text = fc.string({ unit: "grapheme" }).map((any) => any.replaceAll("\0", ""));
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(
        fc.option(text),
        fc.option(fc.maxSafeInteger()),
        fc.option(fc.array(fc.option(fc.oneof(text, fc.constantFrom("NULL", "null", "", '"', "\\", "{}", ","))))),
        fc.array(fc.option(fc.maxSafeInteger())),
        fc.option(fc.boolean()),
      ),
      async (values) => {
        const [rows] = await turns.run([statement("echo", echo, values)]);
        // The driver answers items of bigint[] as text.
        const [row = []] = rows ?? [];
        expect([...row.slice(0, 3), (row[3] as (string | null)[]).map((item) => (item === null ? null : Number(item))), row[4]]).toEqual(
          values,
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("an error takes the whole turn back, runs nothing after it, and leaves the connection as it was", async () => {
  const turns = await openTurns();
  await turns.run([insert(10)]);
  await expect(turns.run([insert(11), insert(10), insert(12)])).rejects.toMatchObject({ name: "RolledBack", cause: { code: "23505" } });
  expect(await turns.run([count([10, 11, 12])])).toEqual([[[1]]]);
  const nonsense = turns.run([insert(13), statement("nonsense", "select nothing from nowhere", [])]);
  await expect(nonsense).rejects.toBeInstanceOf(RolledBack);
  expect(await turns.run([count([13])])).toEqual([[[0]]]);
  expect(turns.gone).toBe(false);
});

test("an error that shows at the commit takes the turn back as well", async () => {
  await queryOnce(
    database.url,
    "create table wakeful.late (id bigint primary key, of bigint references wakeful.late (id) deferrable initially deferred)",
  );
  const turns = await openTurns();
  const late = statement("late", "insert into late (id, of) values (1, 2)", []);
  await expect(turns.run([insert(20), late])).rejects.toMatchObject({ name: "RolledBack", cause: { code: "23503" } });
  expect(await turns.run([count([20])])).toEqual([[[0]]]);
});

test("a connection that the server ends leaves the turn's fate open, whatever the server's last word was", async () => {
  const target = postgresTarget({ url: database.url });
  const turns = await TurnConnection.open({ ...target, settings: { ...target.settings, lock_timeout: "0" } });
  const [holder, admin] = await Promise.all([connect(), connect()]);
  await holder.query("begin; lock table wakeful.t");
  const cut = turns.run([insert(30)]).catch((thrown: unknown) => thrown);
  await until(async () => {
    const waiting = "datname = current_database() and wait_event_type = 'Lock' and query like 'insert into t %'";
    return (await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${waiting}`)).rowCount === 1;
  });
  await holder.query("rollback");
  const thrown = await cut;
  expect(thrown).not.toBeInstanceOf(RolledBack);
  expect(thrown).toMatchObject({ code: "57P01" });
  expect(turns.gone).toBe(true);
  await expect(turns.run([count([30])])).rejects.toThrow(/not queryable|terminated/);
});

test("a row that cannot be read is told, and the connection goes on", async () => {
  const turns = await openTurns();
  const big = statement("big", "select 9223372036854775807::bigint, $1::text", ["x"]);
  await expect(turns.run([insert(40), big])).rejects.toThrow(RangeError);
  expect(await turns.run([count([40])]), "it was committed all the same").toEqual([[[1]]]);
});
