import { sql, type Transaction } from "kysely";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { asInstant, minutes } from "../../src/domain/time.ts";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import type { Database } from "../../src/store/engine/tables.ts";
import { openReadOnly, openStore } from "../../src/store/open-store.ts";
import type { Store, StoreHint } from "../../src/store/port/store.ts";
import { postgresTarget } from "../../src/store/postgres/client-config.ts";
import { PostgresEngine } from "../../src/store/postgres/engine.ts";
import { StoreClient } from "../../src/store/postgres/store-client.ts";
import { createDatabase, queryOnce } from "../support/postgres.ts";
import { until } from "../support/until.ts";

const clock = { now: () => asInstant(Date.UTC(2026, 0, 1)) };

async function databaseUrl(): Promise<string> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return database.url;
}

async function open(url: string, options: Partial<Parameters<typeof openStore>[0]> = {}): Promise<Store> {
  const store = await openStore({ url, clock, ...options });
  onTestFinished(() => store.close());
  return store;
}

/** Ends every connection to the database but its own, as a restart of the server does. */
async function cutConnections(url: string): Promise<void> {
  await queryOnce(
    url,
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
}

test("three daemons that start at once on an empty database all come up on one schema", async () => {
  const url = await databaseUrl();
  const stores = await Promise.all([open(url), open(url), open(url)]);
  await Promise.all(stores.map((store) => store.jobs.ensureQueues([{ name: "t", kind: "handler", slot: { key: "t", capacity: 3 } }])));
  expect(await stores[0]?.upkeep.slots()).toEqual([{ key: "t", capacity: 3, used: 0 }]);
});

test("the tables live in a schema of their own, beside whatever else the database holds", async () => {
  const url = await databaseUrl();
  await queryOnce(url, "create table public.jobs (mine text)");
  const store = await open(url);
  expect(await store.upkeep.counts()).toEqual([]);
  const other = await open(`${url}?schema=wakeful_two`);
  await other.upkeep.putSetting("mark", "two");
  expect(await store.upkeep.setting("mark")).toBeUndefined();
  await expect(openStore({ url: `${url}?schema=Robert%22;--`, clock })).rejects.toThrow(/schema/);
});

test.each(["repeatable read", "serializable"])("each statement sees what is committed, also where the database says %s", async (level) => {
  const url = await databaseUrl();
  const name = pg.escapeIdentifier(new URL(url).pathname.slice(1));
  await queryOnce(url, `alter database ${name} set default_transaction_isolation = '${level}'`);
  const client = new StoreClient(postgresTarget({ url }));
  await client.connect();
  onTestFinished(() => client.end());
  const { rows } = await client.query<{ transaction_isolation: string }>("show transaction_isolation");
  expect(rows).toEqual([{ transaction_isolation: "read committed" }]);
});

test("cut connections are opened again by themselves, and every hint is given to catch up", async () => {
  const url = await databaseUrl();
  const store = await open(url);
  const heard = new Set<StoreHint>();
  store.onHint((hint) => heard.add(hint));
  await cutConnections(url);
  await until(() => heard.size === 7, { what: "the hints after the reconnection" });
  await until(() => store.upkeep.putSetting("mark", "after").then(() => true), { what: "a write" });
  heard.clear();
  const other = await open(url);
  await other.outbox.put({ kind: "alert", key: "k", payload: "1" });
  await until(() => heard.has("outbox"), { what: "a hint of the other program" });
});

test("a server that does not answer is told as unavailable, with the host and without the password", async () => {
  const refused = openStore({ url: "postgres://someone:secret@127.0.0.1:9/nothing", clock });
  await expect(refused).rejects.toMatchObject({ code: "unavailable", retryable: true });
  await expect(refused).rejects.not.toThrow(/secret|by itself/);
  await expect(refused).rejects.toThrow(/127\.0\.0\.1:9.*Check that its server runs/);
});

test("a server that refuses the user, or lacks the database, is a mistake of the configuration", async () => {
  const url = new URL(await databaseUrl());
  url.pathname = "/absent";
  await expect(openStore({ url: url.href, clock })).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringMatching(/"absent" does not exist.*Check the user, the password and the database/),
  });
});

test("a read-only opening reads, and its writes are refused by the server", async () => {
  const url = await databaseUrl();
  await expect(openReadOnly({ url, clock })).rejects.toMatchObject({ code: "store_older" });
  const writer = await open(url);
  await writer.upkeep.putSetting("mark", "kept");
  const reader = await openReadOnly({ url, clock });
  onTestFinished(() => reader.close());
  expect(await reader.upkeep.setting("mark")).toBe("kept");
  await expect(reader.upkeep.putSetting("mark", "lost")).rejects.toMatchObject({ code: "store_read_only" });
});

test("another server under the same data raises the store epoch, once", async () => {
  const url = await databaseUrl();
  const first = await open(url);
  expect(await first.upkeep.storeEpoch()).toBe(0);
  await first.close();
  await (await open(url)).close();
  await queryOnce(url, "update wakeful.meta set value = 'system 1, timeline 00000001' where name = 'server_identity'");
  const [second] = await Promise.all([open(url), open(url)]);
  expect(await second.upkeep.storeEpoch()).toBe(1);
  expect(await second.actions.list({ limit: 1 })).toMatchObject([{ action: "store.epoch_raised" }]);
});

test("without a clock of the test's the store's time is the server's", async () => {
  const url = await databaseUrl();
  const store = await open(url, { clock: { now: () => asInstant(0), mono: () => performance.now() } });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  onTestFinished(() => client.end());
  const { rows } = await client.query<{ now: number }>("select (extract(epoch from clock_timestamp()) * 1000)::float8 as now");
  expect(Math.abs(store.now() - (rows[0]?.now ?? 0))).toBeLessThan(minutes(1));
  expect(store.now()).toBeGreaterThanOrEqual(store.now() - 1);
});

test("daemons that start or raise the epoch at the same moment all get numbers of their own", async () => {
  const url = await databaseUrl();
  const [a, b] = await Promise.all([open(url), open(url)]);
  const rounds = Array.from({ length: 10 }, (_, n) => n);
  const [starts, epochs] = await Promise.all([
    Promise.all(rounds.map((n) => (n % 2 === 0 ? a : b).upkeep.recordStart(0))),
    Promise.all(rounds.map((n) => (n % 2 === 0 ? b : a).upkeep.raiseEpoch("test"))),
  ]);
  expect(new Set(starts.map((start) => start.startSeq)).size).toBe(10);
  expect(new Set(epochs).size).toBe(10);
});

test("a transaction that is stopped by a deadlock is begun again, and both are done", async () => {
  const url = await databaseUrl();
  await (await open(url)).close();
  const engine = new PostgresEngine({ target: postgresTarget({ url }), hints: new HintBoard(), now: () => clock.now(), poolSize: 2 });
  onTestFinished(() => engine.close());
  await engine.kysely
    .insertInto("meta")
    .values([
      { name: "a", value: "0" },
      { name: "b", value: "0" },
    ])
    .execute();
  const add = (tx: Transaction<Database>, name: string) =>
    tx.updateTable("meta").set({ value: sql<string>`cast(cast(value as integer) + 1 as text)` }).where("name", "=", name).execute();
  let begun = 0;
  const crossing = async (first: string, second: string): Promise<void> =>
    await engine.transaction(async (tx) => {
      await add(tx, first);
      begun += 1;
      // Each has its first row before either asks for its second.
      await until(() => begun >= 2, { everyMs: 1 });
      await add(tx, second);
    });
  await Promise.all([crossing("a", "b"), crossing("b", "a")]);
  expect(begun).toBeGreaterThan(2);
  expect(await engine.kysely.selectFrom("meta").select("value").where("name", "in", ["a", "b"]).execute()).toEqual([
    { value: "2" },
    { value: "2" },
  ]);
});
