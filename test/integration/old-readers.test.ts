import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { asInstant } from "../../src/domain/time.ts";
import { longLogBytes } from "../../src/liveness/old-readers.ts";
import { observeOldReaders } from "../../src/observe/old-readers.ts";
import { systemOpenFiles } from "../../src/processes/probe/open-files.ts";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import { FakeClock } from "../../src/runtime/fake-clock.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { startTestDaemon, type TestDaemon } from "../support/daemon.ts";
import { readElsewhere } from "../support/file-reader.ts";
import { createDatabase, queryOnce, type TestDatabase } from "../support/postgres.ts";
import { startPostgresServer } from "../support/postgres-server.ts";
import { present } from "../support/present.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const clock = { now: () => asInstant(Date.now()) };
const logBytes = (path: string): number => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
const oldReaders = async (store: Store) => await observeOldReaders({ upkeep: store.upkeep, files: systemOpenFiles(), ownPid: process.pid });

const stage = `
log: { json: true }
pipelines:
  p:
    stages:
      work: { run: { command: ["true"] } }
`;

/** Lines of the daemon's log that tell of readers. */
const toldBy = ({ log }: TestDaemon): readonly Record<string, unknown>[] =>
  log.map((line) => JSON.parse(line) as Record<string, unknown>).filter((line) => String(line["event"]).startsWith("store.reader_"));

const alertsOf = ({ log }: TestDaemon): readonly string[] =>
  log
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line["event"] === "alert.raised" && line["cause"] === "store.reader_overdue")
    .map((line) => String(line["title"]));

const metricsOf = async (client: Client): Promise<string> => {
  let text = "";
  for await (const piece of await client.stream(api.metrics, {})) text += new TextDecoder().decode(piece);
  return text;
};

/** Adds items with much input, about twice as long in the log, until it is so long. */
async function lengthenLog({ client, dataDir }: TestDaemon, prefix: string, bytes: number): Promise<void> {
  for (let n = 0; logBytes(join(dataDir, "wakeful.db")) < bytes; n += 1)
    await client.call(api.submitItem, { params: { name: "p" }, body: { key: `${prefix}-${n}`, input: "x".repeat(400_000) } });
}

test("readers.alertLogBytes is the log's length from which a process that reads the file is reported; the log is cut when it is gone", async () => {
  const time = new FakeClock();
  const daemon = await startTestDaemon({ yaml: `readers: { alertLogBytes: 24MiB }\ndataDir: ./data${stage}`, clock: time });
  const { client } = daemon;
  const path = join(daemon.dataDir, "wakeful.db");
  await client.call(api.pause, { body: { target: { kind: "queue", name: "p/work" } } });
  const reader = await readElsewhere(path);
  await lengthenLog(daemon, "first", longLogBytes + 1);
  const holder = async () => (await client.call(api.checkStore, {})).oldReaders;
  expect(await holder()).toMatchObject({ readers: [{ kind: "process", who: expect.stringContaining(`pid ${reader.pid} (`) }] });
  // Long enough to be cut, and no matter for people.
  time.advance(60_000);
  await until(async () => (await holder()).logHeld);
  expect(logBytes(path)).toBeLessThan(24 * 2 ** 20);
  expect(toldBy(daemon)).toEqual([]);
  await lengthenLog(daemon, "second", 25 * 2 ** 20);
  await until(() => {
    time.advance(1000);
    return toldBy(daemon).length > 0;
  });
  expect(toldBy(daemon)).toMatchObject([
    {
      event: "store.reader_overdue",
      kind: "process",
      who: expect.stringContaining(`pid ${reader.pid} (`),
      remedy: expect.stringContaining(`kill ${reader.pid}`),
    },
  ]);
  await until(() => alertsOf(daemon).length > 0);
  expect(alertsOf(daemon)).toEqual([expect.stringContaining(`pid ${reader.pid} (`)]);
  expect(await metricsOf(client)).toMatch(new RegExp(`wakeful_store_old_reader\\{kind="process",reader="pid ${reader.pid} `));
  await reader.kill();
  await until(() => logBytes(path) <= longLogBytes, { what: "the log to be cut" });
  await until(() => toldBy(daemon).length > 1);
  expect(toldBy(daemon).slice(1)).toMatchObject([{ event: "store.reader_gone" }]);
  expect(await holder()).toMatchObject({ logHeld: false, readers: [] });
});

test("a store that was killed while its log was long is cut by the next opening, beside a reader when that ends; nothing is lost", async () => {
  const path = join(tempDir("killed"), "wakeful.db");
  const script = fileURLToPath(new URL("../support/store-load.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", script, path, "0"], { stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(child, "close");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  const settled = new Set<number>();
  let text = "";
  let ready = false;
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "ready") ready = true;
      if (line.startsWith("settled ")) settled.add(Number(line.slice(8)));
    }
  });
  await until(() => ready);
  const reader = await readElsewhere(path);
  await until(() => logBytes(path) > longLogBytes + 2 ** 20, { what: "the log to be long" });
  child.kill("SIGKILL");
  await closed;
  const store = await openStore({ url: path, clock });
  onTestFinished(() => store.close());
  expect(await oldReaders(store)).toMatchObject({ readers: [{ who: expect.stringContaining(`pid ${reader.pid} `) }] });
  await until(async () => (await oldReaders(store)).logHeld);
  expect(logBytes(path)).toBeGreaterThan(longLogBytes);
  await reader.endReading();
  await until(() => logBytes(path) <= longLogBytes, { what: "the log to be cut" });
  expect(await store.upkeep.checkInvariants()).toEqual([]);
  expect(await store.upkeep.integrityCheck()).toEqual([]);
  expect(settled.size).toBeGreaterThan(0);
  for (const id of settled) expect((await store.jobs.get(id as never))?.state).toBe("done");
});

/** Another session of the server, as a person or an application has one. */
async function session(url: string, name: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: name });
  // It is ended by the test, or by the server.
  client.on("error", () => undefined);
  await client.connect();
  onTestFinished(() => client.end().catch(() => undefined));
  return client;
}

const pidOf = async (client: pg.Client): Promise<number> =>
  present((await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]).pid;

/** So many transactions with an id of their own. */
const passTransactions = async (url: string, count: number): Promise<void> =>
  await queryOnce(
    url,
    `set synchronous_commit = off; do $$ begin for n in 1..${count} loop perform txid_current(); commit; end loop; end $$`.replace(
      "set synchronous_commit = off; ",
      "",
    ),
  );

async function databaseOfTest(): Promise<TestDatabase> {
  const made = await createDatabase();
  onTestFinished(() => made.drop());
  return made;
}

test("readers.alertAfterMs is the age from which a transaction that holds back vacuum is reported, once, and when it is gone", async () => {
  const { url } = await databaseOfTest();
  const time = new FakeClock();
  const daemon = await startTestDaemon({ yaml: `readers: { alertAfterMs: 2s }\ndataDir: ./data\nstore: ${url}${stage}`, clock: time });
  const { client } = daemon;
  const holder = await session(url, "reports");
  await holder.query("begin; select txid_current()");
  const pid = await pidOf(holder);
  const found = async () => (await client.call(api.checkStore, {})).oldReaders.readers.find(({ who }) => who.includes(`session ${pid} `));
  await until(async () => ((await found())?.ageMs ?? 0) > 2000);
  // It is old, and costs nothing yet.
  time.advance(31_000);
  await passTransactions(url, 10_000);
  expect(toldBy(daemon)).toEqual([]);
  expect(await found()).toMatchObject({
    kind: "session",
    who: `session ${pid} (reports, user postgres, idle in transaction)`,
    transactions: expect.toSatisfy((behind: number) => behind >= 10_000),
    remedy: `\`select pg_terminate_backend(${pid})\`, as a superuser.`,
  });
  await until(
    () => {
      time.advance(31_000);
      return toldBy(daemon).length > 0;
    },
    { everyMs: 300 },
  );
  time.advance(31_000);
  await until(() => alertsOf(daemon).length > 0);
  expect(alertsOf(daemon)).toEqual([expect.stringContaining(`pg_terminate_backend(${pid})`)]);
  const text = await metricsOf(client);
  expect(text).toMatch(/wakeful_store_oldest_transaction_behind \d{5}/);
  await queryOnce(url, `select pg_terminate_backend(${pid})`);
  await until(
    () => {
      time.advance(31_000);
      return toldBy(daemon).length > 1;
    },
    { everyMs: 300 },
  );
  expect(toldBy(daemon).map((line) => line["event"])).toEqual(["store.reader_overdue", "store.reader_gone"]);
  expect(await found()).toBeUndefined();
});

test("what the server hides from the store's role is said to be hidden", async () => {
  const { name, url } = await databaseOfTest();
  const role = `plain_${name}`;
  await queryOnce(url, `create role ${role} login password 'x'; grant create on database ${name} to ${role}`);
  const address = new URL(url);
  address.username = role;
  address.password = "x";
  const holder = await session(url, "psql");
  await holder.query("begin isolation level repeatable read; select 1");
  const store = await openStore({ url: address.href, clock });
  const { readers } = await oldReaders(store);
  expect(readers.filter(({ who }) => who.includes("psql"))).toMatchObject([
    {
      who: `session ${await pidOf(holder)} (psql, user postgres, a transaction that this role may not see)`,
      ageMs: null,
      remedy: expect.stringContaining("as a superuser"),
    },
  ]);
  await store.close();
  await queryOnce(url, `drop owned by ${role} cascade; drop role ${role}`);
});

test("prepared transactions and replication slots are named, sessions of other databases and vacuums are not", async () => {
  const server = await startPostgresServer({
    settings: { fsync: "off", max_prepared_transactions: "5", wal_level: "logical", max_connections: "50" },
  });
  onTestFinished(() => server.stop());
  await queryOnce(server.url, "create database jobs");
  const address = new URL(server.url);
  address.pathname = "/jobs";
  const elsewhere = await session(server.url, "elsewhere");
  await elsewhere.query("begin; select txid_current()");
  // A vacuum keeps nothing from another, however long it takes.
  const vacuum = await session(address.href, "upkeep");
  await vacuum.query("create table v as select n from generate_series(1, 100000) as n");
  await vacuum.query("set vacuum_cost_delay = 100; set vacuum_cost_limit = 1; set vacuum_cost_page_dirty = 1000");
  const ended = vacuum.query("vacuum v").catch(() => undefined);
  const watcher = await session(address.href, "watcher");
  await until(async () => {
    const { rows } = await watcher.query(
      `select 1 from pg_stat_activity a join pg_stat_progress_vacuum p using (pid)
       where p.datname = current_database() and coalesce(backend_xmin, backend_xid) is not null`,
    );
    return rows.length > 0;
  });
  const store = await openStore({ url: address.href, clock });
  expect((await oldReaders(store)).readers).toEqual([]);
  await queryOnce(address.href, "select pg_terminate_backend(pid) from pg_stat_progress_vacuum where datname = current_database()");
  await ended;
  const preparing = await session(address.href, "preparing");
  await preparing.query("begin");
  await preparing.query("create table t (a int)");
  await preparing.query("prepare transaction 'it''s'");
  expect((await oldReaders(store)).readers).toMatchObject([
    {
      kind: "prepared_transaction",
      who: "the prepared transaction it's of postgres",
      remedy: expect.stringContaining("`rollback prepared 'it''s'`"),
    },
  ]);
  await preparing.query("rollback prepared 'it''s'");
  await elsewhere.query("rollback");
  await preparing.query("select pg_create_logical_replication_slot('cdc', 'pgoutput')");
  expect((await oldReaders(store)).readers).toMatchObject([
    {
      kind: "replication_slot",
      who: "the replication slot cdc (inactive)",
      catalogOnly: true,
      ageMs: null,
      remedy: expect.stringContaining("pg_drop_replication_slot('cdc')"),
    },
  ]);
  await store.close();
});
