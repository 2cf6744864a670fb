import { CompiledQuery, type Kysely, type Transaction } from "kysely";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import type { Migration, MigrationProgress, MigrationStep, Slice } from "../../src/store/engine/migration.ts";
import { type MigrationTarget, migrate } from "../../src/store/engine/migrator.ts";
import type { Database } from "../../src/store/engine/tables.ts";
import { postgresMigrations } from "../../src/store/migrations/postgres.ts";
import { openReadOnly, openStore } from "../../src/store/open-store.ts";
import { postgresTarget } from "../../src/store/postgres/client-config.ts";
import { PostgresEngine } from "../../src/store/postgres/engine.ts";
import { targetOf } from "../../src/store/postgres/migration-target.ts";
import { type EarlierStore, earlierStore, jobs, runs, workers } from "../support/earlier-store.ts";
import { storeOptions } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { schemaLines } from "../support/schema-lines.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

const newest = postgresMigrations.length;
/** The first migration in steps that programs of the version before must not outlive. */
const readyAndLive = 4;

/** As a program of the version before has it. */
const older = "-c search_path=wakeful";

async function connect({ url }: Pick<EarlierStore, "url">, options: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, options });
  client.on("error", () => undefined);
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}
function engineOf({ url, clock }: EarlierStore): PostgresEngine {
  const engine = new PostgresEngine({ target: postgresTarget({ url }), hints: new HintBoard(), now: () => clock.now(), poolSize: 2 });
  onTestFinished(() => engine.close());
  return engine;
}

/** The migration to `ready` and `live` with each step as `change` gives it. */
function withSteps(change: (step: MigrationStep, index: number) => MigrationStep): readonly Migration[] {
  return postgresMigrations.map((migration) =>
    "steps" in migration && migration.number === readyAndLive ? { ...migration, steps: migration.steps.map(change) } : migration,
  );
}

/** Ends the migration before one of these steps. */
async function migrateUntil(earlier: EarlierStore, name: string): Promise<void> {
  const cut = withSteps((step) => (step.name === name ? { name, text: "select 1 / 0" } : step));
  await expect(migrate(targetOf(engineOf(earlier)), cut)).rejects.toThrow(/division by zero/);
}

const olderWrites: readonly string[] = [
  "insert into jobs (queue_id, state, run_at, created_at) values (3, 'queued', 1, 1)",
  `update jobs set paused = true where id = ${jobs.paused}`,
  `update runs set progress_at = 2 where id = ${runs.started}`,
  "delete from runs where id = 103",
  `update workers set last_heard_at = 5 where id = ${workers.live}`,
  "update leases set state = 'free', granted_at = null",
  "update items set updated_at = 3 where id = 11",
  // What its count of the runs in `runs` would say.
  "update slots set used = 0",
  "update visits set attempts = attempts + 1",
  "delete from lease_waiters",
];

/** What an older program may go on with: records of what it does, and deliveries that it would else repeat for ever. */
const openToOlder = ["action_logs", "daemons", "hosts", "meta", "migrations", "outbox", "ready_on_host"];

test("from the first step on a program of the version before is cut off: none of its writes arrives, and it waits", async () => {
  const earlier = await earlierStore("postgres", readyAndLive - 1);
  const client = await connect(earlier, older);
  for (const text of olderWrites.slice(0, 5)) await client.query(`begin; ${text}; rollback`);
  await migrateUntil(earlier, "jobs that may be claimed");
  const before = await earlier.rows();
  for (const text of olderWrites) {
    // Of the class that a daemon takes for a server which does not answer yet.
    await expect(client.query(text), text).rejects.toMatchObject({
      code: "57W01",
      message: expect.stringContaining("install the newer version"),
    });
  }
  expect(await earlier.rows()).toEqual(before);
  await earlier.open();
  for (const text of olderWrites) await expect(client.query(text), text).rejects.toMatchObject({ code: "57W01" });
});

test("every table is closed to programs of the version before, but for its records and deliveries and what it has never heard of", async () => {
  const earlier = await earlierStore("postgres", readyAndLive - 1);
  await earlier.open();
  const client = await connect(earlier, older);
  const tables = await earlier.query("select table_name as name from information_schema.tables where table_schema = 'wakeful' order by 1");
  const open: string[] = [];
  for (const { name } of tables) {
    const answer = await client
      .query(`begin; delete from ${String(name)} where false; rollback`)
      .catch((thrown: { code: string }) => thrown);
    if ("code" in answer) expect(answer.code).toBe("57W01");
    else open.push(String(name));
    await client.query("rollback");
  }
  expect(open).toEqual(openToOlder);
});

test("what a program of the version before is writing when the migration begins is written, and comes along", async () => {
  const earlier = await earlierStore("postgres", readyAndLive - 1);
  const [writer, late] = [await connect(earlier, older), await connect(earlier, older)];
  await late.query("begin");
  await writer.query("begin");
  await writer.query("insert into jobs (id, queue_id, state, run_at, created_at) values (800, 3, 'queued', 1, 1)");
  const told: MigrationProgress[] = [];
  const store = openStore({ url: earlier.url, clock: earlier.clock, tellMigration: (progress) => told.push(progress) });
  await until(() => told.some(({ step, waitsFor }) => step === "making the new tables" && waitsFor !== undefined), { what: "it waits" });
  expect(told.at(-1)?.waitsFor).toMatch(/^process \d+ of the server \(.*idle in transaction for/);
  // Nobody waits behind it: it gives up its place again and again.
  const other = await connect(earlier, `${older} -c statement_timeout=1000`);
  for (let times = 0; times < 5; times += 1) await other.query("update jobs set paused = true where id = 55");
  await writer.query("commit");
  const opened = await store;
  onTestFinished(() => opened.close());
  expect(await earlier.query("select * from ready where job_id = 800")).toHaveLength(1);
  await expect(late.query("insert into jobs (queue_id, state, run_at, created_at) values (3, 'queued', 1, 1)")).rejects.toMatchObject({
    code: "57W01",
  });
});

test("of two programs that open at once one migrates, and the other says that it waits and finds it done", async () => {
  const earlier = await earlierStore("postgres", readyAndLive - 1);
  const reader = await connect(earlier, older);
  await reader.query("begin; select 1 from jobs limit 1");
  const [first, second]: [MigrationProgress[], MigrationProgress[]] = [[], []];
  const one = openStore({ url: earlier.url, clock: earlier.clock, tellMigration: (progress) => first.push(progress) });
  await until(() => first.some(({ step }) => step === "making the new tables"), { what: "the first one begins" });
  const other = openStore({ url: earlier.url, clock: earlier.clock, tellMigration: (progress) => second.push(progress) });
  await until(() => second.some(({ waitsFor }) => waitsFor === "another program, which migrates it"), { what: "the other one waits" });
  await reader.query("commit");
  for (const store of await Promise.all([one, other])) {
    onTestFinished(() => store.close());
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  }
  expect(second.filter(({ waitsFor }) => waitsFor === undefined)).toEqual([]);
});

const lookText = `select
  (select count(*)::integer from pg_locks join pg_class on pg_class.oid = relation where pid = pg_backend_pid()
    and relnamespace = 'wakeful'::regnamespace and relname in ('jobs', 'runs')
    and mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) as locks,
  (select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::integer from pg_stat_xact_user_tables
    where relname in ('jobs', 'runs')) as reads`;

/** What a transaction does to the tables that grow: locks that somebody would wait for, and whether it reads rows. */
async function looked(tx: Kysely<Database>, name: string, body: () => Promise<unknown>): Promise<string> {
  const look = async () => (await tx.executeQuery<{ locks: number; reads: number }>(CompiledQuery.raw(lookText))).rows[0];
  const before = present(await look());
  await body();
  const { locks, reads } = present(await look());
  // Less: an index is gone, and what was read by it.
  return `${name}: ${locks === 0 ? "no lock" : "locks"}, ${reads > before.reads ? "rows" : "no row"}`;
}

test("no step that moves or reads all rows holds a lock that readers or writers wait for, and none that does reads rows", async () => {
  const earlier = await earlierStore("postgres", 1);
  const found = new Set<string>();
  const withLooks = (step: MigrationStep): MigrationStep => {
    if (!("slice" in step)) return step;
    return {
      ...step,
      slice: async (tx, page) => {
        let slice: Slice | undefined;
        const line = await looked(tx, step.name, async () => {
          slice = await step.slice(tx, page);
        });
        if (present(slice).moved > 0) found.add(line);
        return present(slice);
      },
    };
  };
  const steps = postgresMigrations.flatMap((migration) => ("steps" in migration ? migration.steps : []));
  const target = targetOf(engineOf(earlier));
  const watched: MigrationTarget = {
    ...target,
    alone: async (body, hears) =>
      await target.alone(async (session) => {
        const runText = async (tx: Transaction<Database>, text: string): Promise<void> => {
          const name = steps.find((step) => "text" in step && step.text === text)?.name ?? "own limits";
          found.add(await looked(tx, name, async () => await session.runText(tx, text)));
        };
        return await body({ ...session, runText });
      }, hears),
  };
  const ours = postgresMigrations.map(
    (migration): Migration => ("steps" in migration ? { ...migration, steps: migration.steps.map(withLooks) } : migration),
  );
  await migrate(watched, ours);
  expect([...found]).toEqual([
    "own limits: locks, no row",
    "opening the kinds: locks, no row",
    "checking all jobs: no lock, rows",
    "making the new tables: locks, no row",
    "jobs that may be claimed: no lock, rows",
    "runs under way: no lock, rows",
    "scheduled jobs: no lock, rows",
    "held, failed and cancelled jobs: no lock, rows",
    "jobs of open visits: no lock, rows",
    "leaving the old shape: locks, no row",
    "checking all runs: no lock, rows",
    "taking the new indexes: locks, no row",
    "making room for several daemons: locks, no row",
    "items of the only host: no lock, no row",
    "jobs of the only host: no lock, rows",
    "state files of the only host: no lock, no row",
    "leaving the index of all deliveries: no lock, no row",
  ]);
});

test("an index that a kill left half made is made anew", async () => {
  const earlier = await earlierStore("postgres", readyAndLive - 1);
  await migrateUntil(earlier, "new_jobs_of_note");
  const holder = await connect(earlier, older);
  await holder.query("begin isolation level repeatable read; select 1 from jobs limit 1");
  const maker = await connect(earlier, `${older} -c statement_timeout=300`);
  await expect(maker.query("create index concurrently new_jobs_of_note on jobs (note, id) where note is not null")).rejects.toThrow(
    /timeout/,
  );
  await holder.query("commit");
  expect(await earlier.query("select indisvalid from pg_index where indexrelid = 'new_jobs_of_note'::regclass")).toEqual([
    { indisvalid: false },
  ]);
  const store = await earlier.open();
  expect(await store.upkeep.integrityCheck()).toEqual([]);
  const whole = await earlierStore("postgres", readyAndLive - 1);
  await whole.open();
  expect(await schemaLines("postgres", earlier.query)).toEqual(await schemaLines("postgres", whole.query));
});

test("a store on its way is not read by an opening that may not migrate, and goes on when it may", async () => {
  const earlier = await earlierStore("postgres", readyAndLive - 1);
  await migrateUntil(earlier, "runs under way");
  await expect(openReadOnly({ url: earlier.url, clock: earlier.clock })).rejects.toMatchObject({
    code: "store_older",
    message: expect.stringContaining(`is on its way to schema ${readyAndLive}, or was left there`),
    details: { found: readyAndLive, known: newest, underWay: true },
  });
  const store = await earlier.open();
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("a connection that says its schema may write past the store", async () => {
  const earlier = await earlierStore("postgres", readyAndLive - 1);
  await earlier.open();
  const client = await connect(earlier, storeOptions);
  expect((await client.query(present(olderWrites[1]))).rowCount).toBe(1);
});

test("a migration whose connection falls silent gives up, and the next one goes on [F-8.2]", async () => {
  const earlier = await earlierStore("postgres", readyAndLive - 1);
  const proxy = await startTcpProxy(earlier.url);
  let silent = false;
  const told = (): void => {
    if (!silent) proxy.silence();
    silent = true;
  };
  const silenced = openStore({ url: proxy.url, clock: earlier.clock, tellMigration: told });
  await expect(silenced).rejects.toMatchObject({ code: "unavailable" });
  expect(silent).toBe(true);
  const store = await openStore({ url: proxy.url, clock: earlier.clock });
  onTestFinished(() => store.close());
  expect(await store.upkeep.checkInvariants()).toEqual([]);
  expect(await earlier.query("select value from meta where name = 'migration_step'")).toEqual([]);
});

test("a program of schema 4 is cut off from the first step of the next migration on: it claims nothing that it could not settle", async () => {
  const earlier = await earlierStore("postgres", readyAndLive);
  const ofSchema4 = await connect(earlier, "-c search_path=wakeful -c wakeful.schema=4");
  await ofSchema4.query("begin; delete from ready; rollback");
  const cut = postgresMigrations.map((migration) =>
    "steps" in migration && migration.number === newest
      ? { ...migration, steps: migration.steps.map((step, index) => (index === 1 ? { name: step.name, text: "select 1 / 0" } : step)) }
      : migration,
  );
  await expect(migrate(targetOf(engineOf(earlier)), cut)).rejects.toThrow(/division by zero/);
  for (const text of [...olderWrites, "delete from ready", "update live set check_at = 0", "delete from live"]) {
    await expect(ofSchema4.query(text), text).rejects.toMatchObject({ code: "57W01", message: expect.stringContaining("schema 5") });
  }
  const store = await earlier.open();
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});
