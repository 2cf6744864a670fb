import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { createDatabase, queryOnce } from "./postgres.ts";

async function countOf(url: string, query: string): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ count: string }>(query);
  await client.end();
  return Number(rows[0]?.count);
}

test("every database is empty and apart from the others", async () => {
  const [one, two] = await Promise.all([createDatabase(), createDatabase()]);
  onTestFinished(() => one.drop());
  onTestFinished(() => two.drop());
  await queryOnce(one.url, "create table marks (id integer)");
  const tables = "select count(*) from information_schema.tables where table_name = 'marks'";
  expect(await countOf(one.url, tables)).toBe(1);
  expect(await countOf(two.url, tables)).toBe(0);
});

test("a database can be copied from another, and dropping it twice is fine", async () => {
  const original = await createDatabase();
  onTestFinished(() => original.drop());
  await queryOnce(original.url, "create table marks as select generate_series(1, 3) as id");
  const copy = await createDatabase({ template: original.name });
  expect(await countOf(copy.url, "select count(*) from marks")).toBe(3);
  await copy.drop();
  await copy.drop();
});

test("dropping ends connections that a test forgot", async () => {
  const database = await createDatabase();
  const client = new pg.Client({ connectionString: database.url });
  // Two events come: the server's farewell, then the closed socket. The first settles the promise.
  const ended = new Promise((resolve) => void client.on("error", resolve));
  await client.connect();
  await database.drop();
  expect(await ended).toMatchObject({ code: "57P01" });
});
