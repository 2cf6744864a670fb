import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { loopNames } from "../../src/config/loop-names.ts";
import { addMs, asInstant, hours, type Instant } from "../../src/domain/time.ts";
import { api } from "../../src/protocol/api/index.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { startTestDaemon } from "../support/daemon.ts";
import { createDatabase, storeOptions } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import {
  postgresWholeReads,
  recordPostgres,
  recordSqlite,
  type SentStatement,
  sqliteWholeReads,
  type WholeRead,
} from "../support/statement-plans.ts";
import { addItem, claimOne, declareQueues, processOn, registerWorker, retried, startRun, success } from "../support/store-rows.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

/** Tables that grow with history or with load. The others hold a row for each queue, slot, lease, host, setting or live session. */
const growing = new Set(["jobs", "runs", "items", "visits", "action_logs", "outbox", "duplicates"]);

const hourAgo = (): Instant => asInstant(Date.now() - hours(1));

/** Something to do for every loop: what is due, dead, blocked, stranded, held too long, undelivered, decided or old. */
async function giveWork(store: Store): Promise<void> {
  await declareQueues(store);
  const long = addMs(hourAgo(), -hours(24 * 60));
  const workerId = await registerWorker(store, "silent", processOn("elsewhere"));
  const stranded = await addItem(store, "stranded");
  const prep = await claimOne(store, { workerId, queues: ["p/prep"] });
  await startRun(store, prep);
  await store.runs.settle([success(prep, { actor: "worker" })]);
  expect((await store.items.listStranded({ limit: 10 })).map(({ item }) => item.id)).toContain(stranded.id);
  await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}, {}] });
  // One runs under a silent session, one is blocked, one waits for its time.
  await startRun(store, await claimOne(store, { workerId, queues: ["t"] }));
  const blocked = await claimOne(store, { workerId, queues: ["t"] });
  await store.runs.settle([retried(blocked, { stopBy: long })]);
  await addItem(store, "running");
  const running = await claimOne(store, { workerId, queues: ["p/prep"] });
  await startRun(store, running);
  await store.runs.recordProcess({ ...running, process: processOn("elsewhere", 99) });
  await store.jobs.enqueue({ queue: "t", delayMs: 1, jobs: [{}] });
  const lease = { ttlMs: 1000, maxHoldMs: 2000, timeoutAt: addMs(hourAgo(), hours(24)) };
  await store.leases.acquire({ name: "merge/a", ticket: "one", holder: { kind: "run", runId: running.runId }, ...lease });
  await store.leases.acquire({
    name: "merge/a",
    ticket: "two",
    holder: { kind: "process", process: processOn("elsewhere", 98) },
    ...lease,
  });
  await store.outbox.put({ kind: "alert", key: "one", payload: '{"title":"one"}' });
  const found = { pipeline: "p", key: "stranded", existingItemId: stranded.id, sizeBytes: 1 };
  for (const fileName of ["done", "decided"]) {
    const id = await store.duplicates.add({ ...found, fileName, path: `/nowhere/${fileName}` });
    await store.duplicates.decide(id, "discard", "ana");
    if (fileName === "done") await store.duplicates.finish(id);
  }
}

/** History, recent and old, as both engines write it; `series` answers the numbers from 1 to `count` as `n`. */
function history(series: (count: number) => string, now: number): readonly string[] {
  const old = now - hours(24 * 60);
  const recent = now - hours(24 * 3);
  const at = `(case when n % 400 = 0 then ${old} else ${recent} end)`;
  return [
    `insert into jobs (queue_id, state, run_at, created_at, finished_at, attempts, run_count)
       select (select id from queues where name = 't'), 'done', ${at}, ${at}, ${at}, 1, 1 from (${series(20_000)}) s`,
    `insert into runs (id, job_id, attempt, state, worker_id, kind, reserved_at, started_at, ended_at, outcome, reason, spent, max_running_ms)
       select 1000000 + id, id, 1, 'ended', 1, 'handler', created_at, created_at, finished_at, 'succeeded', 'ok', 'attempt', 1000
       from jobs where state = 'done' and item_id is null`,
    `insert into items (pipeline, pipeline_version, key, dir, input, state, stage, visit_id, created_at, updated_at, finished_at)
       select 'p', 'v1', 'old-' || n, 'old-' || n, '{}', 'done', 'ocr', 500000 + n, ${at}, ${at}, ${at} from (${series(5_000)}) s`,
    `insert into visits (id, item_id, stage, number, state, max_attempts, opened_at, closed_at)
       select visit_id, id, 'ocr', 1, 'passed', 3, created_at, finished_at from items where state = 'done'`,
    `insert into action_logs (at, action, actor, job_id) select ${at}, 'job.noted', 'test', n from (${series(20_000)}) s`,
    `insert into outbox (kind, key, payload, created_at) select 'alert', 'dead-' || n, '{}', ${at} from (${series(5_000)}) s`,
    `insert into duplicates (pipeline, key, existing_item_id, file_name, path, size_bytes, detected_at, decision, decided_at, done_at)
       select 'p', 'k', 1, 'f', '/old/' || n, 1, ${at}, 'discard', ${at}, ${at} from (${series(5_000)}) s`,
  ];
}

/** Runs a daemon over the store until every loop has had work, and reads what people look at. */
async function liveThrough(storeUrl: string, folder: string): Promise<void> {
  const inbox = join(folder, "in");
  mkdirSync(inbox);
  writeFileSync(join(inbox, "book.cbz"), "pages");
  utimesSync(join(inbox, "book.cbz"), 1, 1);
  const yaml = `
store: ${JSON.stringify(storeUrl)}
dataDir: ./data
worker: { concurrency: 2 }
pipelines:
  p:
    intake: { watch: ./in, match: ["*.cbz"], minStable: 1s }
    stages:
      prep: { run: { command: [sh, -c, "exit 0"] }, timeout: 1h, next: ocr, retry: { min: 0s, max: 0s } }
      ocr: { run: { command: [sh, -c, "exit 0"] }, timeout: 1h, retry: { min: 0s, max: 0s } }
`;
  const { client, stop } = await startTestDaemon({ yaml, folder });
  const lookAround = async (): Promise<void> => {
    for (const name of loopNames) await client.call(api.runLoop, { params: { name }, body: {} });
  };
  await lookAround();
  await until(
    async () => {
      await lookAround();
      const { loops } = await client.call(api.listLoops, {});
      expect(loops.map(({ name }) => name).toSorted()).toEqual([...loopNames].toSorted());
      const { items } = await client.call(api.listItems, { query: { limit: 100 } });
      const taken = items.find(({ key, state }) => !key.startsWith("old-") && key !== "stranded" && key !== "running" && state === "done");
      return taken !== undefined && loops.every(({ seen, settled, name }) => seen + settled > 0 || name === "scheduler");
    },
    { what: "every loop to have had something to do", everyMs: 200 },
  );
  for (const name of ["queueStatus", "listRuns", "listJobs", "listItems", "listWorkers", "listLeases", "listLoops"] as const) {
    await (client.call as (endpoint: unknown, input: unknown) => Promise<unknown>)(api[name], { query: { limit: 50 } });
  }
  await stop("leave");
}

const told = (reads: readonly WholeRead[]): readonly string[] => [
  ...new Set(
    reads
      .filter(({ table }) => growing.has(table.replace(/^the table of (\w+?)_.*/, "$1")))
      .map(({ step, table, text }) => `${step} of ${table}: ${text.trim()}`),
  ),
];

function expectBreadth(sent: ReadonlyMap<string, SentStatement>): void {
  // The recording holds the daemon's whole life, and not only a part of it.
  expect(sent.size).toBeGreaterThan(100);
  for (const table of [...growing, "leases", "workers", "slots", "lease_waiters"])
    expect([...sent.keys()].filter((text) => new RegExp(`\\b${table}\\b`).test(text)).length, table).toBeGreaterThan(0);
}

test("SQLite: no statement of a daemon's life reads a growing table as a whole", async () => {
  const folder = tempDir("plans");
  const path = join(folder, "wakeful.db");
  const store = await openStore({ url: path, clock: { now: hourAgo }, synchronous: "normal" });
  await giveWork(store);
  await store.close();
  const database = new DatabaseSync(path);
  const series = (count: number) => `with recursive c(n) as (select 1 union all select n + 1 from c where n < ${count}) select n from c`;
  for (const text of history(series, hourAgo())) database.exec(text);
  database.close();
  const sent = recordSqlite();
  await liveThrough(path, folder);
  expectBreadth(sent);
  expect(told(sqliteWholeReads(path, sent.values()))).toEqual([]);
});

test("PostgreSQL: no statement of a daemon's life reads a growing table as a whole", async () => {
  const made = await createDatabase();
  onTestFinished(() => made.drop());
  const store = await openStore({ url: made.url, clock: { now: hourAgo } });
  await giveWork(store);
  await store.close();
  const client = new pg.Client({ connectionString: made.url, options: storeOptions });
  await client.connect();
  const series = (count: number) => `select n from generate_series(1, ${count}) n`;
  for (const text of history(series, hourAgo())) await client.query(text);
  await client.query("analyze");
  await client.end();
  const sent = recordPostgres();
  await liveThrough(made.url, tempDir("plans"));
  const statements = new Map([...sent].filter(([, { options }]) => options.includes("search_path=wakeful")));
  expectBreadth(statements);
  expect(told(await postgresWholeReads(present(made).url, statements.values()))).toEqual([]);
});
