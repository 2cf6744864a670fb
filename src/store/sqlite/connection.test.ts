import { expect, onTestFinished, test } from "vitest";
import { firstIdOfEpoch } from "../../domain/ids.ts";
import { SqliteConnection } from "./connection.ts";
import { SqliteRunIds } from "./run-ids.ts";

function connect(): SqliteConnection {
  const connection = new SqliteConnection({ path: ":memory:" });
  onTestFinished(() => connection.close());
  connection.db.exec("create table t (a integer); create table meta (name text primary key, value text not null)");
  return connection;
}

const count = (connection: SqliteConnection): number => {
  const row = connection.prepare("select count(*) as n from t").get() as { n: number };
  return row.n;
};

test("the connection is given to one at a time, first come, first served", async () => {
  const connection = connect();
  const order: string[] = [];
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const first = connection.exclusive(async () => {
    order.push("first begins");
    await gate;
    order.push("first ends");
  });
  const second = connection.exclusive(() => order.push("second"));
  const third = connection.exclusive(() => order.push("third"));
  await Promise.resolve();
  expect(order).toEqual(["first begins"]);
  open();
  await Promise.all([first, second, third]);
  expect(order).toEqual(["first begins", "first ends", "second", "third"]);
});

test("a failure passes the connection on", async () => {
  const connection = connect();
  await expect(connection.exclusive(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await connection.exclusive(() => 7)).toBe(7);
});

test("what throws inside an immediate transaction leaves nothing of it", async () => {
  const connection = connect();
  const insert = connection.prepare("insert into t values (1)");
  const failing = connection.exclusive(() =>
    connection.immediate(() => {
      insert.run();
      throw new Error("half-way");
    }),
  );
  await expect(failing).rejects.toThrow("half-way");
  expect(count(connection)).toBe(0);
  await connection.exclusive(() => connection.immediate(() => insert.run()));
  expect(count(connection)).toBe(1);
});

test("a statement is planned once, whatever its limit is", () => {
  const connection = connect();
  const insert = connection.prepare("insert into t values (?)");
  for (const a of [1, 2, 3]) insert.run(a);
  // SQLite asks it whenever it plans a statement.
  let planned = 0;
  const plansOf = (run: (limit: number) => unknown): number => {
    planned = 0;
    for (const limit of [1, 2, 3]) run(limit);
    return planned;
  };
  const sql = "select a from t where a > 0 order by a limit ?";
  const [hidden, bare] = [connection.prepare(sql), connection.db.prepare(sql)];
  connection.db.setAuthorizer(() => {
    planned++;
    return 0;
  });
  expect(hidden.all(2)).toEqual([{ a: 1 }, { a: 2 }]);
  expect(plansOf((limit) => hidden.all(limit))).toBe(0);
  expect(
    plansOf((limit) => bare.all(limit)),
    "why the limit is hidden",
  ).toBeGreaterThan(0);
});

test("statements are prepared once, and the least recently used of very many go", () => {
  const connection = connect();
  const kept = connection.prepare("select 0");
  for (let n = 1; n <= 1_000; n += 1) {
    connection.prepare(`select ${n}`);
    expect(connection.prepare("select 0")).toBe(kept);
  }
  const first = connection.prepare("select 1");
  expect(connection.prepare("select 1")).toBe(first);
});

test("closing waits for whoever has the connection and refuses those behind", async () => {
  const connection = new SqliteConnection({ path: ":memory:" });
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const holder = connection.exclusive(async () => {
    await gate;
    return connection.prepare("select 1 as n").get();
  });
  const closing = connection.close();
  const late = connection.exclusive(() => 1);
  open();
  expect(await holder).toEqual({ n: 1 });
  await closing;
  await expect(late).rejects.toMatchObject({ code: "unavailable" });
  await expect(connection.exclusive(() => 1)).rejects.toMatchObject({ code: "unavailable" });
});

test("run ids are contiguous, and a crash skips to the next block instead of giving any out again", () => {
  const connection = connect();
  const ids = new SqliteRunIds(connection);
  ids.reserve(10);
  expect(ids.take(10)).toBe(1);
  expect(ids.take(5)).toBe(11);
  const afterCrash = new SqliteRunIds(connection);
  afterCrash.reserve(1);
  expect(afterCrash.take(1)).toBeGreaterThan(15);
  expect(() => new SqliteRunIds(connection).take(1)).toThrow(/reserve/);
});

test("run ids of a new store epoch begin in its range", () => {
  const connection = connect();
  const ids = new SqliteRunIds(connection);
  ids.reserve(1);
  connection.db.exec("insert into meta values ('store_epoch', '3')");
  ids.forget();
  ids.reserve(1);
  expect(ids.take(1)).toBe(firstIdOfEpoch(3) + 1);
});
