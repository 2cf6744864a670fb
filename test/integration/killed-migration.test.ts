import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { expect, onTestFinished, test, vi } from "vitest";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import type { Migration, MigrationProgress } from "../../src/store/engine/migration.ts";
import { migrate } from "../../src/store/engine/migrator.ts";
import { postgresMigrations } from "../../src/store/migrations/postgres.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { postgresTarget } from "../../src/store/postgres/client-config.ts";
import { PostgresEngine } from "../../src/store/postgres/engine.ts";
import { targetOf as postgresTargetOf } from "../../src/store/postgres/migration-target.ts";
import { SqliteConnection } from "../../src/store/sqlite/connection.ts";
import { SqliteEngine } from "../../src/store/sqlite/engine.ts";
import { targetOf } from "../../src/store/sqlite/migration-target.ts";
import {
  allRows,
  type EarlierStore,
  earlierStore,
  earlierVersions,
  migratePostgres,
  migrateSqlite,
  withDatabase,
  withFile,
} from "../support/earlier-store.ts";
import { createDatabase } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { schemaLines } from "../support/schema-lines.ts";
import { beforeEachStatement, inManyStatements } from "../support/statements-of-migration.ts";
import { StoreTestClock } from "../support/stores.ts";
import { tempDir } from "../support/temp-dir.ts";

const newest = sqliteMigrations.length;

type Query = EarlierStore["query"];

/** One of the two engines, as this test meets it. */
interface Place {
  readonly engine: "sqlite" | "postgres";
  readonly url: string;
  readonly with: <T>(url: string, body: (query: Query) => Promise<T>) => Promise<T>;
  readonly migrate: (url: string, version: number) => Promise<void>;
}

const clock = new StoreTestClock();
const onSqlite = (url: string): Place => ({
  engine: "sqlite",
  url,
  with: withFile,
  migrate: async (path, version) => await migrateSqlite(path, sqliteMigrations.slice(0, version), clock),
});
const onPostgres = (url: string): Place => ({
  engine: "postgres",
  url,
  with: withDatabase,
  migrate: async (to, version) => await migratePostgres(to, postgresMigrations.slice(0, version), clock),
});

/** All of a store. */
async function wholeOf(place: Place) {
  return await place.with(place.url, async (query) => ({
    schema: await schemaLines(place.engine, query),
    rows: await allRows(place.engine, query),
  }));
}

/** A program of the version before neither opens what a kill left nor changes it, unless the kill came before anything was done. */
async function expectOlderRefused(place: Place): Promise<void> {
  const [row] = await place.with(place.url, async (query) => await query("select max(number) as newest from migrations"));
  const found = Number(row?.newest);
  if (found === 1) return;
  const rowsOf = async () => await place.with(place.url, async (query) => await allRows(place.engine, query));
  const before = await rowsOf();
  await expect(place.migrate(place.url, found - 1)).rejects.toMatchObject({ code: "store_newer", details: { found } });
  expect(await rowsOf()).toEqual(before);
}

/** From the first version on, so that those of all later ones are among them. */
test("SQLite: a program that is killed between any two statements of its migrations", async () => {
  const earlier = await earlierStore("sqlite", present(earlierVersions[0]));
  const folder = tempDir("killed");
  // A kill leaves what the process has written so far: the file, and the log beside it.
  const kills: string[] = [];
  const copyFiles = (): void => {
    const path = join(folder, `${kills.length}.db`);
    for (const ending of ["", "-wal"])
      if (existsSync(`${earlier.url}${ending}`)) copyFileSync(`${earlier.url}${ending}`, `${path}${ending}`);
    kills.push(path);
  };
  const connection = new SqliteConnection({ path: earlier.url });
  beforeEachStatement(connection, copyFiles);
  const engine = new SqliteEngine({ connection, hints: new HintBoard(), now: () => earlier.clock.now() });
  await migrate(inManyStatements(targetOf(engine)), sqliteMigrations);
  copyFiles();
  await connection.close();
  const expected = await wholeOf(onSqlite(earlier.url));
  expect(kills.length).toBeGreaterThan(60);
  for (const [index, path] of kills.entries()) {
    const place = onSqlite(path);
    await expectOlderRefused(place);
    await place.migrate(path, newest);
    expect(await wholeOf(place), `killed before statement ${index + 1}`).toEqual(expected);
  }
});

test("SQLite: a process that is killed in the middle of a migration, and the next one goes on", async () => {
  const earlier = await earlierStore("sqlite", newest - 1);
  const script = fileURLToPath(new URL("../support/migrate-and-die.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", script, earlier.url, "50"], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { PATH: process.env.PATH },
  });
  expect(await once(child, "close")).toEqual([null, "SIGKILL"]);
  expect(await earlier.query("select max(number) as newest from migrations")).toEqual([{ newest }]);
  expect(await earlier.query("select value from meta where name = 'migration_step'")).toHaveLength(1);
  const store = await earlier.open();
  expect(await store.upkeep.checkInvariants()).toEqual([]);
  expect(await store.upkeep.integrityCheck()).toEqual([]);
  expect(await earlier.query("select value from meta where name = 'migration_step'")).toEqual([]);
});

test("SQLite: a disk that is full in the middle of a migration is reported, and the next start goes on", async () => {
  const earlier = await earlierStore("sqlite", 3);
  await earlier.query("update jobs set payload = hex(zeroblob(1000000)) where id = 55 returning id");
  const connection = new SqliteConnection({ path: earlier.url });
  const target = targetOf(new SqliteEngine({ connection, hints: new HintBoard(), now: () => earlier.clock.now() }));
  // The new tables fit, this row does not fit a second time.
  const fill = ({ step }: MigrationProgress): void => {
    if (step === "jobs") connection.db.exec("pragma max_page_count = 1");
  };
  await expect(migrate(target, sqliteMigrations, fill)).rejects.toMatchObject({ code: "disk_full" });
  await connection.close();
  await expectOlderRefused(onSqlite(earlier.url));
  await earlier.open();
  expect(await earlier.query("select length(payload) as length from jobs where id = 55")).toEqual([{ length: 2_000_000 }]);
  expect(await earlier.query("select value from meta where name = 'migration_step'")).toEqual([]);
});

/** An engine whose one connection migrates, and is closed when the test ends. */
function openEngine(url: string): PostgresEngine {
  const engine = new PostgresEngine({
    target: postgresTarget({ url }),
    hints: new HintBoard(),
    now: () => new StoreTestClock().now(),
    poolSize: 1,
  });
  onTestFinished(() => engine.close());
  return engine;
}

/** Migrates, and ends the server's session before the statement of that number. Answers whether it came so far. */
async function migrateUntil(
  url: string,
  { count, migrations }: { readonly count: number; readonly migrations: readonly Migration[] },
): Promise<boolean> {
  let sent = 0;
  const query = pg.Client.prototype.query as (...args: unknown[]) => unknown;
  const spy = vi.spyOn(pg.Client.prototype, "query").mockImplementation(function (this: pg.Client, ...args: unknown[]) {
    if (writes(args[0])) sent += 1;
    return query.apply(this, sent === count ? ["select pg_terminate_backend(pg_backend_pid())"] : args);
  });
  try {
    await migrate(inManyStatements(postgresTargetOf(openEngine(url))), migrations);
    return false;
  } catch (thrown) {
    expect(thrown).toMatchObject({ code: "unavailable" });
    return true;
  } finally {
    spy.mockRestore();
  }
}

/** A kill before one that only looks, sets something or commits does the same as one before the statement that wrote last. */
function writes(sent: unknown): boolean {
  const text = typeof sent === "string" ? sent : (sent as { readonly text: string }).text;
  return !/^(select|set|do|begin|start|commit|--)/.test(text) || /^select .* moved/.test(text);
}

// In two parts, as the first statements of a migration would else be sent again for each one of the next.
test.each([
  { from: present(earlierVersions[0]), to: 4, atLeast: 50 },
  { from: 4, to: newest, atLeast: 15 },
])(
  "PostgreSQL: a program whose session ends between any two statements of its migrations from $from to $to",
  { timeout: 240_000 },
  async ({ from, to, atLeast }) => {
    const earlier = await earlierStore("postgres", from);
    const template = new URL(earlier.url).pathname.slice(1);
    const migrated = async (count: number) => {
      await using database = await createDatabase({ template });
      const place = onPostgres(database.url);
      const killed = await migrateUntil(database.url, { count, migrations: postgresMigrations.slice(0, to) });
      if (killed) await expectOlderRefused(place);
      await place.migrate(database.url, newest);
      return { killed, whole: await wholeOf(place) };
    };
    const { whole } = await migrated(0);
    for (let count = 1; ; count += 1) {
      const found = await migrated(count);
      expect(found.whole, `killed before statement ${count}`).toEqual(whole);
      if (found.killed) continue;
      expect(count).toBeGreaterThan(atLeast);
      break;
    }
  },
);
