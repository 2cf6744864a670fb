import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";
import { onTestFinished } from "vitest";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import type { Migration } from "../../src/store/engine/migration.ts";
import { migrate } from "../../src/store/engine/migrator.ts";
import { postgresMigrations } from "../../src/store/migrations/postgres.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { postgresTarget } from "../../src/store/postgres/client-config.ts";
import { PostgresEngine } from "../../src/store/postgres/engine.ts";
import { targetOf } from "../../src/store/postgres/migration-target.ts";
import { SqliteConnection } from "../../src/store/sqlite/connection.ts";
import { SqliteEngine } from "../../src/store/sqlite/engine.ts";
import { targetOf as sqliteTargetOf } from "../../src/store/sqlite/migration-target.ts";
import { firstSqliteMigrations } from "./first-sqlite-migrations.ts";
import { createDatabase } from "./postgres.ts";
import { StoreTestClock } from "./stores.ts";
import { tempDir } from "./temp-dir.ts";

type Row = Readonly<Record<string, unknown>>;

/** A store as a program of an earlier schema version left it in the middle of its work. */
export interface EarlierStore {
  readonly url: string;
  readonly clock: StoreTestClock;
  /** The rows of one statement, past the store. */
  readonly query: (text: string) => Promise<readonly Row[]>;
  /** Everything that is stored, by table. */
  readonly rows: () => Promise<Readonly<Record<string, readonly Row[]>>>;
  /** Opens it with this program, which migrates it. */
  readonly open: () => Promise<Store>;
}

/** All versions before this program's. */
export const earlierVersions: readonly number[] = sqliteMigrations.slice(0, -1).map(({ number }) => number);

/** What is in the rows, for tests to name. */
export const jobs = {
  reserved: 31,
  started: 32,
  exited: 34,
  stopping: 35,
  held: 36,
  paused: 37,
  /** Of the task `t`, in the order in which they are claimed. */
  queued: [52, 53, 51],
  scheduled: 54,
} as const;
export const runs = { reserved: 101, started: 102, exited: 104, stopping: 105 } as const;
export const items = { reserved: 11, started: 12, exited: 13, stopping: 14, held: 15, paused: 16 } as const;
export const workers = { live: 41, dead: 42 } as const;
/** The recorded processes, all of `host-a`: a wrapper and a command. */
export const deadPids = [199, 200] as const;
/** The last id that each table has given out. Retention has removed its row. */
export const lastId = 900;

export async function earlierStore(engine: "sqlite" | "postgres", version: number): Promise<EarlierStore> {
  const clock = new StoreTestClock();
  const { url, query } = engine === "sqlite" ? await onSqlite(version, clock) : await onPostgres(version, clock);
  const open = async (): Promise<Store> => {
    const store = await openStore({ url, clock, synchronous: "normal" });
    onTestFinished(() => store.close());
    return store;
  };
  return { url, clock, query, rows: async () => await allRows(engine, query), open };
}

/** Everything that a store holds, by table; `query`: its rows of one statement. */
export async function allRows(
  engine: "sqlite" | "postgres",
  query: EarlierStore["query"],
): Promise<Readonly<Record<string, readonly Row[]>>> {
  const tables = await query(
    engine === "sqlite"
      ? "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\'"
      : "select table_name as name from information_schema.tables where table_schema = 'wakeful'",
  );
  const rows: Record<string, readonly Row[]> = {};
  for (const { name } of tables) rows[String(name)] = await query(`select * from ${String(name)} order by 1`);
  return rows;
}

type Place = Pick<EarlierStore, "url" | "query">;

async function onSqlite(version: number, clock: StoreTestClock): Promise<Place> {
  const path = join(tempDir("earlier"), "wakeful.db");
  const rowsVersion = Math.min(version, firstSqliteMigrations.length);
  await migrateSqlite(path, firstSqliteMigrations.slice(0, rowsVersion), clock);
  const db = new DatabaseSync(path);
  db.exec(`${rowsText(rowsVersion, clock.now())}
    update sqlite_sequence set seq = ${lastId};
    insert into meta (name, value) values ('run_ids_set_aside', '${lastId}')`);
  db.close();
  // Later versions come from a store in use, as they did.
  if (version > rowsVersion) await migrateSqlite(path, sqliteMigrations.slice(0, version), clock);
  return { url: path, query: async (text) => await withFile(path, async (query) => await query(text)) };
}

/** Reads the file on one connection for as long as `body` lasts. */
export async function withFile<T>(path: string, body: (query: EarlierStore["query"]) => Promise<T>): Promise<T> {
  const db = new DatabaseSync(path);
  try {
    return await body(async (text) => db.prepare(text).all() as Row[]);
  } finally {
    db.close();
  }
}

/** Brings a file to the newest of `migrations`, and leaves it. */
export async function migrateSqlite(path: string, migrations: readonly Migration[], clock: Pick<StoreTestClock, "now">): Promise<void> {
  const connection = new SqliteConnection({ path });
  const engine = new SqliteEngine({ connection, hints: new HintBoard(), now: () => clock.now() });
  try {
    await migrate(sqliteTargetOf(engine), migrations);
  } finally {
    await connection.close();
  }
}

async function onPostgres(version: number, clock: StoreTestClock): Promise<Place> {
  const { url, drop } = await createDatabase();
  onTestFinished(drop);
  const rowsVersion = Math.min(version, firstSqliteMigrations.length);
  await migratePostgres(url, postgresMigrations.slice(0, rowsVersion), clock);
  const run: EarlierStore["query"] = async (text) => await withDatabase(url, async (query) => await query(text));
  await run(`${rowsText(rowsVersion, clock.now())}
    do $$ declare each record; begin
      for each in select table_name as name from information_schema.columns where table_schema = 'wakeful' and is_identity = 'YES' loop
        perform setval(pg_get_serial_sequence(each.name, 'id'), ${lastId});
      end loop;
    end $$;
    select setval('run_ids', ${lastId})`);
  if (version > rowsVersion) await migratePostgres(url, postgresMigrations.slice(0, version), clock);
  return { url, query: run };
}

/** The same on the server, as a program of before, which the tables of this version do not let write. */
export async function withDatabase<T>(url: string, body: (query: EarlierStore["query"]) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, options: "-c search_path=wakeful" });
  await client.connect();
  try {
    return await body(async (text) => (await client.query<Row>(text)).rows);
  } finally {
    await client.end();
  }
}

/** Brings a database of the server to the newest of `migrations`, and leaves it. */
export async function migratePostgres(url: string, migrations: readonly Migration[], clock: StoreTestClock): Promise<void> {
  const engine = new PostgresEngine({ target: postgresTarget({ url }), hints: new HintBoard(), now: () => clock.now(), poolSize: 1 });
  try {
    await migrate(targetOf(engine), migrations);
  } finally {
    await engine.close();
  }
}

/**
 * Rows of every table, and of every state in which work can be met. Plain SQL that both engines read, because no code of that version is
 * there to write them; it holds the store's invariants.
 */
function rowsText(version: number, now: number): string {
  // The first version has no run without a ceiling.
  const ceiling = version === 1 ? "86400000" : "null";
  const process = `'host-a', 'boot-of-host-a', 'ns', 200, '777'`;
  return `
insert into meta (name, value) values ('store_epoch', '0'), ('mark', 'kept');
insert into slots (key, capacity, used) values ('p.prep', 5, 3);
insert into queues (id, name, kind, slot_key, paused) values
  (1, 'p/prep', 'command', 'p.prep', false), (2, 'p/ocr', 'command', null, false), (3, 't', 'handler', null, false), (5, 'old', 'handler', null, true);
insert into pipeline_versions (id, pipeline, hash, definition, put_at, current) values (4, 'p', 'v1', '{"name":"p"}', ${now}, true);

insert into items (id, pipeline, pipeline_version, key, dir, state, stage, visit_id, visit_count, input, label, repo, branch, error, created_at, updated_at, finished_at) values
  (11, 'p', 'v1', 'reserved', 'reserved', 'active', 'prep', 21, 1, '{}', null, null, null, null, ${now}, ${now}, null),
  (12, 'p', 'v1', 'started', 'started', 'active', 'prep', 22, 1, '{"a":1}', 'A book', 'repo', 'branch', null, ${now}, ${now}, null),
  (13, 'p', 'v1', 'exited', 'exited', 'active', 'ocr', 24, 2, '{}', null, null, null, null, ${now}, ${now}, null),
  (14, 'p', 'v1', 'stopping', 'stopping', 'active', 'prep', 25, 1, '{}', null, null, null, null, ${now}, ${now}, null),
  (15, 'p', 'v1', 'held', 'held', 'active', 'prep', 26, 1, '{}', null, null, null, null, ${now}, ${now}, null),
  (16, 'p', 'v1', 'paused', 'paused', 'paused', 'prep', 27, 1, '{}', null, null, null, null, ${now}, ${now}, null),
  (17, 'p', 'v1', 'done', 'done', 'done', 'ocr', 28, 1, '{}', null, null, null, null, ${now}, ${now}, ${now}),
  (18, 'p', 'v1', 'failed', 'failed', 'failed', 'prep', 29, 1, '{}', null, null, null, 'exit code 1 (run 108)', ${now}, ${now}, ${now});
insert into visits (id, item_id, stage, number, state, counts, attempts, max_attempts, losses, max_losses, last_loss_at, opened_at, closed_at, output) values
  (21, 11, 'prep', 1, 'open', true, 0, 3, 0, null, null, ${now}, null, null),
  (22, 12, 'prep', 1, 'open', true, 1, 3, 0, 3, null, ${now}, null, null),
  (23, 13, 'prep', 1, 'passed', true, 1, 3, 0, null, null, ${now}, ${now}, '{"pages":3}'),
  (24, 13, 'ocr', 2, 'open', true, 1, 3, 0, null, null, ${now}, null, null),
  (25, 14, 'prep', 1, 'open', true, 1, 3, 1, 3, ${now}, ${now}, null, null),
  (26, 15, 'prep', 1, 'open', true, 1, 3, 0, null, null, ${now}, null, null),
  (27, 16, 'prep', 1, 'open', true, 0, 3, 0, null, null, ${now}, null, null),
  (28, 17, 'ocr', 1, 'passed', false, 1, 3, 0, null, null, ${now}, ${now}, null),
  (29, 18, 'prep', 1, 'failed', true, 1, 1, 0, null, null, ${now}, ${now}, null);

insert into jobs (id, queue_id, state, priority, run_at, created_at, finished_at, attempts, max_attempts, losses, max_losses, last_loss_at, run_count,
    current_run_id, current_epoch, blocked_by, stop_by, paused, item_id, visit_id, agent, repo, enqueue_id, payload, output, error) values
  (31, 1, 'running', 0, ${now}, ${now}, null, 0, 3, 0, null, null, 1, 101, 1, null, null, false, 11, 21, 'agent', 'repo', null, null, null, null),
  (32, 1, 'running', 0, ${now}, ${now}, null, 1, 3, 0, 3, null, 1, 102, 1, null, null, false, 12, 22, null, null, null, null, null, null),
  (33, 1, 'done', 0, ${now}, ${now}, ${now}, 1, 3, 0, null, null, 1, null, null, null, null, false, 13, 23, null, null, null, null, '{"pages":3}', null),
  (34, 2, 'running', 7, ${now}, ${now}, null, 1, 3, 0, null, null, 1, 104, 2, null, null, false, 13, 24, null, null, null, null, null, null),
  (35, 1, 'queued', 0, ${now}, ${now}, null, 1, 3, 1, 3, ${now}, 1, null, null, 105, ${now + 17_000}, false, 14, 25, null, null, null, null, null, 'hung (run 105)'),
  (36, 1, 'held', 0, ${now}, ${now}, null, 1, 3, 0, null, null, 1, null, null, null, null, false, 15, 26, null, null, null, null, null, 'exit code 75 (run 106)'),
  (37, 1, 'queued', 0, ${now}, ${now}, null, 0, 3, 0, null, null, 0, null, null, null, null, true, 16, 27, null, null, null, null, null, null),
  (38, 2, 'done', 0, ${now}, ${now}, ${now}, 1, 3, 0, null, null, 1, null, null, null, null, false, 17, 28, null, null, null, null, null, null),
  (39, 1, 'failed', 0, ${now}, ${now}, ${now}, 1, 1, 0, null, null, 1, null, null, null, null, false, 18, 29, null, null, null, null, null, 'exit code 1 (run 108)'),
  (51, 3, 'queued', 5, ${now}, ${now}, null, 0, 2, 0, 1, null, 0, null, null, null, null, false, null, null, null, null, null, '{"n":51}', null, null),
  (52, 3, 'queued', -5, ${now}, ${now}, null, 0, 2, 0, 1, null, 0, null, null, null, null, false, null, null, null, null, null, '{"n":52}', null, null),
  (53, 3, 'queued', 0, ${now}, ${now}, null, 0, 2, 0, 1, null, 0, null, null, null, null, false, null, null, null, null, 'once', '{"n":53}', null, null),
  (54, 3, 'scheduled', 0, ${now + 60_000}, ${now}, null, 0, 2, 0, 1, null, 0, null, null, null, null, false, null, null, null, null, null, null, null, null),
  (55, 3, 'done', 0, ${now}, ${now}, ${now}, 1, 2, 0, 1, null, 1, null, null, null, null, false, null, null, null, null, null, null, '"ok"', null),
  (56, 3, 'cancelled', 0, ${now}, ${now}, ${now}, 0, 2, 0, 1, null, 0, null, null, null, null, false, null, null, null, null, null, null, null, 'no more'),
  (57, 3, 'running', 0, ${now}, ${now}, null, 1, 2, 0, 1, null, 1, 110, 1, null, null, false, null, null, null, null, null, null, null, null);

insert into workers (id, name, kind, state, host_id, boot_id, pid_namespace, pid, start_time, concurrency, queues, registered_at, last_heard_at, ended_at, claim_seq_received, loop_lag_ms) values
  (41, 'live', 'command', 'live', ${process}, 4, '["p/prep","p/ocr"]', ${now}, ${now}, null, 3, 1.5),
  (42, 'dead', 'command', 'dead', ${process}, 4, '["p/prep","p/ocr"]', ${now}, ${now}, ${now}, 1, null),
  (43, 'handlers', 'handler', 'live', ${process}, 100, '["t"]', ${now}, ${now}, null, 0, null),
  (44, 'caller', 'run', 'live', ${process}, 1, '["run"]', ${now}, ${now}, null, 0, null),
  (45, 'gone', 'handler', 'stopped', ${process}, 1, '["t"]', ${now}, ${now}, ${now}, 0, null),
  (46, 'leaving', 'command', 'draining', ${process}, 1, '[]', ${now}, ${now}, null, 0, null);

insert into runs (id, job_id, attempt, state, owner_epoch, worker_id, kind, claim_seq, reserved_at, started_at, exited_at, ended_at, check_at,
    host_id, boot_id, pid_namespace, pid, start_time, wrapper_pid, wrapper_start_time, max_running_ms, exit_code, slot_key, outcome, reason, message, spent) values
  (101, 31, 1, 'reserved', 1, 41, 'command', 3, ${now}, null, null, null, ${now + 30_000}, null, null, null, null, null, null, null, ${ceiling}, null, 'p.prep', null, null, null, null),
  (102, 32, 1, 'started', 1, 41, 'command', 2, ${now}, ${now}, null, null, ${now + 60_000}, ${process}, 199, '776', ${ceiling}, null, 'p.prep', null, null, null, null),
  (103, 33, 1, 'ended', 1, 42, 'command', 1, ${now}, ${now}, ${now}, ${now}, null, ${process}, 199, '776', ${ceiling}, 0, null, 'succeeded', 'exit_0', null, 'attempt'),
  (104, 34, 1, 'exited', 2, 42, 'command', 1, ${now}, ${now}, ${now}, null, ${now + 300_000}, ${process}, 199, '776', ${ceiling}, 0, null, null, null, null, null),
  (105, 35, 1, 'ended', 1, 41, 'command', 1, ${now}, ${now}, null, ${now}, null, ${process}, 199, '776', ${ceiling}, null, 'p.prep', 'hung', 'stale_heartbeat', 'hung', 'attempt'),
  (106, 36, 1, 'ended', 1, 41, 'command', 1, ${now}, ${now}, ${now}, ${now}, null, ${process}, 199, '776', ${ceiling}, 75, null, 'failed', 'exit_code', 'exit code 75', 'attempt'),
  (107, 38, 1, 'ended', 1, 42, 'command', 1, ${now}, ${now}, ${now}, ${now}, null, ${process}, 199, '776', ${ceiling}, 0, null, 'succeeded', 'exit_0', null, 'attempt'),
  (108, 39, 1, 'ended', 1, 42, 'command', 1, ${now}, ${now}, ${now}, ${now}, null, ${process}, 199, '776', ${ceiling}, 1, null, 'failed', 'exit_code', 'exit code 1', 'attempt'),
  (109, 55, 1, 'ended', 1, 43, 'handler', 1, ${now}, ${now}, null, ${now}, null, null, null, null, null, null, null, null, ${ceiling}, null, null, 'succeeded', 'handler_returned', null, 'attempt'),
  (110, 57, 1, 'started', 1, 43, 'handler', 1, ${now}, ${now}, null, null, ${now + 60_000}, null, null, null, null, null, null, null, ${ceiling}, null, null, null, null, null, null);

insert into leases (name, state, holder_run_id, holder_host_id, holder_boot_id, holder_pid_namespace, holder_pid, holder_start_time, ticket, fencing, ttl_ms, max_hold_ms, granted_at, expires_at, alerted_at) values
  ('merge/one', 'held', 102, null, null, null, null, null, 'ticket-1', 7, 60000, 600000, ${now}, ${now + 60_000}, null),
  ('deploy', 'held', null, ${process}, 'ticket-2', 3, 60000, 600000, ${now}, ${now + 60_000}, null),
  ('spare', 'free', null, null, null, null, null, null, null, 9, 60000, 600000, null, null, null);
insert into lease_waiters (id, name, ticket, holder_run_id, holder_host_id, holder_boot_id, holder_pid_namespace, holder_pid, holder_start_time, ttl_ms, max_hold_ms, asked_at, timeout_at) values
  (61, 'merge/one', 'ticket-3', 104, null, null, null, null, null, 60000, 600000, ${now}, ${now + 600_000});
insert into action_logs (id, at, action, actor, reason, message, evidence, job_id, run_id, item_id, worker_id, lease, correlation_id) values
  (62, ${now}, 'run.ended', 'job-reaper', 'stale_heartbeat', 'hung', '{"ageMs":601000}', 35, 105, 14, 41, null, 'c-1'),
  (63, ${now}, 'lease.granted', 'run', null, null, null, null, 102, null, null, 'merge/one', null);
insert into outbox (id, kind, key, payload, revision, attempts, due_at, created_at, last_error) values
  (71, 'state-file', '14', '{"itemId":14}', 3, 0, ${now}, ${now}, null),
  (72, 'alert', 'job.held:36', '{"title":"held"}', 1, 2, ${now + 1_000}, ${now}, 'no answer'),
  (73, 'alert', 'job.failed:39', '{"title":"failed"}', 1, 10, null, ${now}, 'no answer');
insert into duplicates (id, pipeline, key, existing_item_id, file_name, path, size_bytes, detected_at, decision, decided_at, done_at) values
  (81, 'p', 'done', 17, 'a.cbz', 'hold/a.cbz', 10, ${now}, null, null, null),
  (82, 'p', 'done', 17, 'b.cbz', 'hold/b.cbz', 10, ${now}, 'discard', ${now}, ${now});
insert into hosts (host_id, boot_id, seen_at) values ('host-a', 'boot-of-host-a', ${now});`;
}
