import { createRequire } from "node:module";
import { join } from "node:path";
import pg from "pg";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { asHostId, asOwnerEpoch, type ItemId, type RunId } from "../../src/domain/ids.ts";
import { assembleStore } from "../../src/store/assemble-store.ts";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import { migrate } from "../../src/store/engine/migrator.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { postgresTarget } from "../../src/store/postgres/client-config.ts";
import { hotTarget } from "../../src/store/postgres/lanes.ts";
import { StoreClient } from "../../src/store/postgres/store-client.ts";
import { type PreparedStatement, SqliteConnection } from "../../src/store/sqlite/connection.ts";
import { SqliteEngine } from "../../src/store/sqlite/engine.ts";
import { createHotVerbs } from "../../src/store/sqlite/hot-verbs.ts";
import { targetOf } from "../../src/store/sqlite/migration-target.ts";
import { createDatabase, storeOptions } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { statementsOf } from "../support/statement-plans.ts";
import { addItem, claim, declareQueues, farFuture, processOn, registerWorker, retried, startRun, success } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";
import { tempDir } from "../support/temp-dir.ts";

/** Calls every verb of the hot path and every select of the loops once, so that each of their statements is seen. */
async function exercise(store: Store): Promise<void> {
  const workerId = await registerWorker(store);
  await addItem(store);
  await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}, {}, {}] });
  await store.jobs.enqueue({ queue: "p/ocr", jobs: [{ enqueueId: "one" }] });
  await store.jobs.promoteDue(5);
  const runs = await claim(store, { workerId });
  await claim(store, { workerId, queues: ["t"] });
  const [a, b, c, d] = runs.filter((run) => run.queue === "t");
  const command = present(runs.find((run) => run.queue === "p/ocr"));
  const fence = { runId: command.runId, ownerEpoch: command.ownerEpoch };
  await startRun(store, command);
  await store.runs.recordProcess({ ...fence, process: processOn("host-a", 7) });
  await store.runs.recordExit({ ...fence, exitCode: 0, checkAt: farFuture });
  await store.runs.recordGatePending({ ...fence, checkAt: farFuture, pendingSince: store.now() });
  const { exitCode: _, ...plain } = success(present(a));
  await store.runs.settle([plain, { ...plain, runId: present(b).runId, jobId: present(b).jobId, startedAt: store.now() }]);
  await store.runs.settle([retried(present(c), { stopBy: farFuture }), { ...plain, runId: 5 as RunId }]);
  await store.runs.beat([{ runId: present(d).runId, at: store.now() }]);
  await store.runs.moveChecks([{ ...fence, checkAt: farFuture }]);
  await store.workers.renew({ workerId, held: runs.map((run) => run.runId), claimSeqReceived: 1 });
  await store.runs.checkUnheld({ workerId, held: [], claimSeqReceived: 99 });
  await store.runs.bringChecksForward({ startWithinMs: 1, maxRunningMs: 1, finalizeGraceMs: 1 });
  await store.runs.listDue({ now: store.now(), limit: 500 });
  const ours = { only: "plain", heard: [workerId] } as const;
  await store.runs.listDue({ ...ours, now: store.now(), limit: 500 });
  await store.runs.listHeld({ ...ours, workerIds: [workerId], limit: 500 });
  await store.runs.listLive([present(d).runId], ours);
  await store.runs.listAllLive({ ...ours, limit: 500 });
  await store.runs.listBlocked({ ...ours, limit: 200 });
  await store.runs.listOfWorkers({ workerIds: [workerId], limit: 500, after: { workerId, runId: present(d).runId } });
  await store.runs.listHeld({ workerIds: [workerId], limit: 500, after: { workerId, runId: present(d).runId } });
  await store.workers.listPresence({ hostId: asHostId("host-a"), silentSince: store.now() });
  await store.runs.listLocalProcesses(asHostId("host-a"));
  await store.runs.listLive(runs.map((run) => run.runId));
  await store.runs.listAllLive({ limit: 100, after: present(d).runId });
  await store.runs.listBlocked({ limit: 100 });
  await store.runs.clearBlocks([{ jobId: present(c).jobId, runId: present(c).runId, proof: "pid_gone", actor: "stopper" }]);
  await store.runs.takeOver({ ...fence, ownerEpoch: asOwnerEpoch(1), workerId, actor: "a", reason: "r", checkAt: farFuture });
  await store.runs.addSuspend({ hostId: asHostId("host-a"), ms: 1 });
  await store.runs.settleLostPage({
    workerIds: [workerId],
    limit: 100,
    reason: "dead_pid",
    actor: "a",
    recoverySpreadMs: 1,
    random: () => 0,
  });
  await store.workers.listAlive();
  await store.workers.listHostConflicts(store.now());
  await store.workers.listEndedHolding({ endedSince: store.now(), limit: 500 });
  await store.items.listStranded({ limit: 100 });
  await store.jobs.listQueues();
  for (const after of [{}, { after: 0 as ItemId }])
    await store.jobs.listWaiting({ stages: [{ pipeline: "p", stage: "prep" }], limit: 100, ...after });
  await store.leases.listHeld({ limit: 100 });
  await store.outbox.put({ kind: "alert", key: "one", payload: "{}" });
  const hostId = asHostId("host-a");
  const entries = await store.outbox.claim({ hostId, entries: await store.outbox.dueFor({ hostId, limit: 100 }) });
  await store.outbox.prolong(entries);
  for (const entry of entries) await store.outbox.done(entry);
  await store.outbox.release(hostId);
  await store.upkeep.counts();
}

/** Tables that grow with history or with load: never read as a whole. */
const large = new Set(["jobs", "ready", "ready_on_host", "live", "runs", "visits", "items", "action_logs", "outbox"]);
/** Tables that stay small under any load, by the names that statements use; `s` is a batch of settlements, or sessions. */
const small = new Set(["workers", "w", "queues", "q", "slots", "leases", "s"]);
/** Tables of what is unfinished alone, under their own names: read as a whole by what counts it. Statements of the hot path name them otherwise. */
const unfinished = new Set(["ready", "ready_on_host", "live"]);
/** Partial indexes that each hold one kind of unfinished row, so reading the whole index is reading what was asked for. */
const indexesOfTheFew = new Set([
  "jobs_scheduled",
  "jobs_blocked",
  "jobs_paused",
  "jobs_of_note",
  "live_due",
  "live_of_worker",
  "live_local",
  "items_unfinished",
  "outbox_due_of_host",
  "workers_alive",
  "leases_held",
]);

describe("SQLite", () => {
  class RecordingConnection extends SqliteConnection {
    readonly texts = new Set<string>();

    override prepared(sql: string): PreparedStatement {
      this.texts.add(sql);
      return super.prepared(sql);
    }
  }

  async function recorded(): Promise<RecordingConnection> {
    const connection = new RecordingConnection({ path: join(tempDir("plans"), "plans.db"), synchronous: "normal" });
    const clock = new StoreTestClock();
    const hints = new HintBoard();
    const engine = new SqliteEngine({ connection, hints, now: () => clock.now() });
    await migrate(targetOf(engine), sqliteMigrations);
    const store = assembleStore({ engine, hints, hot: createHotVerbs(engine), release: async () => undefined });
    onTestFinished(async () => {
      await store.close();
      await connection.close();
    });
    await declareQueues(store);
    await store.jobs.enqueue({ queue: "t", delayMs: 1000, jobs: [{}] });
    connection.texts.clear();
    await exercise(store);
    return connection;
  }

  /** Steps of a plan that read a whole table, or a whole index that is not one of the few. */
  function wholeReads(connection: SqliteConnection, sql: string): readonly string[] {
    const steps = (connection.db.prepare(`explain query plan ${sql}`).all() as { detail: string }[]).map((row) => row.detail);
    const made = new Set(steps.flatMap((step) => /^(?:CO-ROUTINE|MATERIALIZE) (\S+)/.exec(step)?.[1] ?? []));
    return steps.filter((step) => {
      // The first page of a key range that is open at one end is a walk of the whole table too.
      const scan = /^SCAN (\S+)(?: (.*))?$/.exec(step) ?? /^SEARCH (\S+) USING INTEGER PRIMARY KEY \(rowid[<>]\?\)$/.exec(step);
      if (scan === null || step.includes("VIRTUAL TABLE") || step.includes("CONSTANT ROW") || made.has(scan[1] ?? "")) return false;
      const index = /USING (?:COVERING )?INDEX (\S+)/.exec(step)?.[1];
      const table = scan[1] ?? "";
      return !small.has(table) && !unfinished.has(table) && !indexesOfTheFew.has(index ?? "");
    });
  }

  test("no statement of the hot path or of a loop reads a whole table", async () => {
    const connection = await recorded();
    const statements = [...connection.texts].filter((sql) => /^\s*(select|insert|update|delete|with)/i.test(sql));
    expect(statements.length).toBeGreaterThan(50);
    const breaches = statements.flatMap((sql) => wholeReads(connection, sql).map((step) => `${step}: ${sql}`));
    expect(breaches).toEqual([]);
  });

  test("who waits for a stage is found among the unfinished items, in the order of their ids, whatever has finished", async () => {
    const connection = await recorded();
    const pages = [...connection.texts].filter((sql) => sql.includes('"items"."stage"') && sql.includes('"jobs"."open_visit_id"'));
    expect(pages).toHaveLength(2);
    for (const sql of pages) {
      const plan = (connection.db.prepare(`explain query plan ${sql}`).all() as { detail: string }[]).map((row) => row.detail).join("\n");
      expect(plan).toMatch(/^(SCAN|SEARCH) items USING INDEX items_unfinished/);
      expect(plan).not.toContain("TEMP B-TREE");
    }
  });

  test("the sessions that are alive are read by an index of their own, whatever sessions have ended", async () => {
    const connection = await recorded();
    const reads = [...connection.texts].filter((sql) => /^\s*select.* from "?workers"? where.*'draining'/is.test(sql));
    expect(reads.length).toBeGreaterThanOrEqual(3);
    for (const sql of reads) {
      const plan = (connection.db.prepare(`explain query plan ${sql}`).all() as { detail: string }[]).map((row) => row.detail).join("\n");
      expect(plan, sql).toContain("workers USING INDEX workers_alive");
    }
  });

  test("ended sessions that still hold runs are looked for among those that ended of late", async () => {
    const connection = await recorded();
    const reads = [...connection.texts].filter((sql) => /^\s*select.* from "workers" where "ended_at" >=/is.test(sql));
    expect(reads).not.toEqual([]);
    for (const sql of reads) {
      const plan = (connection.db.prepare(`explain query plan ${sql}`).all() as { detail: string }[]).map((row) => row.detail).join("\n");
      expect(plan, sql).toContain("SEARCH workers USING COVERING INDEX workers_ended (ended_at>?)");
    }
  });

  test("a claim walks what is ready in the order of its key, and reads each job by its own", async () => {
    const connection = await recorded();
    const picks = [...connection.texts].filter((sql) => /from ready where queue_id = \S+ order by/.test(sql));
    expect(picks).not.toEqual([]);
    for (const sql of picks) {
      const plan = (connection.db.prepare(`explain query plan ${sql}`).all() as { detail: string }[]).map((row) => row.detail).join("\n");
      expect(plan).toContain("SEARCH ready USING PRIMARY KEY (queue_id=?)");
      expect(plan).not.toContain("TEMP B-TREE");
      expect(plan).not.toMatch(/SCAN (j|jobs)\b/);
    }
  });
});

describe("PostgreSQL", () => {
  const driver = createRequire(import.meta.url)("pg/lib/utils.js") as { readonly prepareValue: (value: unknown) => string | null };

  interface PlanNode {
    readonly "Node Type": string;
    readonly "Relation Name"?: string;
    readonly "Index Name"?: string;
    readonly "Index Cond"?: string;
    readonly "Subplan Name"?: string;
    readonly Plans?: readonly PlanNode[];
  }

  interface Seen {
    readonly name: string | undefined;
    readonly text: string;
    readonly values: readonly unknown[];
  }

  const nodesOf = (node: PlanNode): readonly PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

  /**
   * Finished history, delayed jobs, and the tables of the ready and the live full of dead entries: without ANALYZE, or vacuumed in a quiet
   * moment, after which the planner takes both for empty however many rows come.
   */
  async function loaded(statistics: "none" | "of empty tables"): Promise<{ readonly url: string; readonly store: Store }> {
    const database = await createDatabase();
    onTestFinished(() => database.drop());
    const clock = new StoreTestClock();
    const store = await openStore({ url: database.url, clock });
    onTestFinished(() => store.close());
    await declareQueues(store);
    const client = new pg.Client({ connectionString: database.url, options: storeOptions });
    await client.connect();
    const now = clock.now();
    await client.query(`
      alter table jobs set (autovacuum_enabled = false); alter table runs set (autovacuum_enabled = false);
      alter table ready set (autovacuum_enabled = false); alter table live set (autovacuum_enabled = false);
      insert into jobs (queue_id, state, run_at, created_at)
        select (select id from queues where name = 't'), 'queued', ${now}, ${now} from generate_series(1, 30000) n;
      insert into ready (queue_id, priority, job_id) select queue_id, priority, id from jobs;
      insert into live (id, job_id, attempt, state, worker_id, kind, reserved_at, started_at, check_at, max_running_ms)
        select id, id, 1, 'started', 1, 'handler', ${now}, ${now}, ${now}, 1000 from jobs;
      delete from ready;
      insert into runs (id, job_id, attempt, state, worker_id, kind, reserved_at, started_at, ended_at, outcome, reason, spent)
        select id, job_id, attempt, 'ended', worker_id, kind, reserved_at, started_at, ${now}, 'succeeded', 'ok', 'attempt' from live;
      delete from live;
      update jobs set state = 'done', finished_at = ${now}, run_count = 1, attempts = 1;
      insert into jobs (queue_id, state, run_at, scheduled_at, created_at)
        select (select id from queues where name = 't'), 'scheduled', ${now} + 1000000, ${now} + 1000000, ${now} from generate_series(1, 30000);
      select setval('run_ids', 40000);`);
    if (statistics === "of empty tables") {
      const last = 30_000;
      // A row on the last page keeps the others from being given back.
      await client.query(
        `insert into live (id, job_id, attempt, state, kind, reserved_at, check_at) values (${last}, ${last}, 1, 'started', 'handler', 1, 1)`,
      );
      await client.query(`insert into ready (queue_id, priority, job_id) values (99, 0, ${last})`);
      await client.query("vacuum live");
      await client.query("vacuum ready");
      await client.query(`insert into live (id, job_id, attempt, state, worker_id, kind, reserved_at, check_at)
        select n, n, 1, 'started', 77, 'handler', 1, 4102444800000 from generate_series(1, ${last} - 1) n`);
    }
    await client.end();
    return { url: database.url, store };
  }

  async function plansOf(url: string, seen: readonly Seen[]): Promise<readonly (Seen & { readonly nodes: readonly PlanNode[] })[]> {
    const client = new StoreClient(hotTarget(postgresTarget({ url })));
    await client.connect();
    try {
      const plans = [];
      for (const [index, statement] of seen.entries()) {
        await client.query(`prepare plan_${index} as ${statement.text}`);
        const values = statement.values.map((value) => {
          const text = driver.prepareValue(value);
          return text === null ? "null" : pg.escapeLiteral(text);
        });
        const parameters = values.length === 0 ? "" : `(${values.join(", ")})`;
        const { rows } = await client.query<{ "QUERY PLAN": readonly { Plan: PlanNode }[] }>(
          `explain (format json) execute plan_${index}${parameters}`,
        );
        plans.push({ ...statement, nodes: nodesOf(present(present(rows[0])["QUERY PLAN"][0]).Plan) });
      }
      return plans;
    } finally {
      await client.end();
    }
  }

  /** Every statement that goes over connections of the hot path while the store is exercised. */
  async function recorded(statistics: Parameters<typeof loaded>[0]): Promise<Awaited<ReturnType<typeof plansOf>>> {
    const { url, store } = await loaded(statistics);
    const spy = vi.spyOn(pg.Client.prototype, "query");
    await exercise(store);
    const seen = new Map<string, Seen>();
    for (const [index, call] of spy.mock.calls.entries()) {
      const client: unknown = spy.mock.contexts[index];
      if (!(client instanceof StoreClient) || client.target.settings["enable_seqscan"] !== "off") continue;
      for (const { name, text, values } of statementsOf(call))
        if (/^\s*(select|insert|update|delete|with)/i.test(text)) seen.set(text, { name, text, values });
    }
    spy.mockRestore();
    return await plansOf(url, [...seen.values()]);
  }

  test.each(["none", "of empty tables"] as const)(
    "with statistics %s, dead entries and history no hot statement reads a whole table, and each keeps to its index",
    async (statistics) => {
      const plans = await recorded(statistics);
      expect(plans.length).toBeGreaterThan(25);
      const breaches = plans.flatMap(({ nodes, text }) =>
        nodes
          .filter((node) => node["Node Type"] === "Seq Scan" && large.has(node["Relation Name"] ?? ""))
          .map((node) => `${node["Relation Name"]}: ${text}`),
      );
      expect(breaches).toEqual([]);
      for (const { nodes, text } of plans) {
        for (const node of nodes) expect(["Hash Join", "Merge Join"], text).not.toContain(node["Node Type"]);
      }
      const walks = plans.flatMap(({ nodes, text }) =>
        nodes
          .filter((node) => /^(ready|live)_(?!local)/.test(node["Index Name"] ?? "") && node["Index Cond"] === undefined)
          .map((node) => `${node["Index Name"]}: ${text}`),
      );
      expect(walks).toEqual([]);

      const indexes = (name: string): Record<string, readonly string[]> => {
        const plan = plans.find((one) => one.name === name);
        expect(plan, name).toBeDefined();
        const used: Record<string, string[]> = {};
        for (const node of plan?.nodes ?? []) {
          const { "Relation Name": table, "Index Name": index } = node;
          if (table === undefined || index === undefined || !["jobs", "ready", "live", "runs"].includes(table)) continue;
          used[table] = [...new Set([...(used[table] ?? []), index])].sort();
        }
        return used;
      };
      // Without a walk of what other sessions hold, and of the jobs that wait for their time or have finished.
      for (const name of ["claim_plain", "claim"])
        expect(indexes(name), name).toEqual({ live: ["live_of_worker"], ready: ["ready_pkey"], jobs: ["jobs_pkey"] });
      expect(indexes("claimed")).toEqual({ live: ["live_of_worker"], jobs: ["jobs_pkey"] });
      expect(indexes("settle")).toEqual({ live: ["live_pkey"], jobs: ["jobs_pkey"] });
      expect(indexes("start")).toEqual({ live: ["live_of_run"], jobs: ["jobs_pkey"] });
      expect(indexes("beat")).toEqual({ live: ["live_of_run"] });
      expect(indexes("move_checks")).toEqual({ live: ["live_of_run"] });
      expect(indexes("not_held")).toEqual({ live: ["live_of_run"], runs: ["runs_pkey"] });
      expect(indexes("promote")).toEqual({ jobs: ["jobs_pkey", "jobs_scheduled"] });

      const candidates = plans.find((one) => one.name === "claim")?.nodes.find((node) => node["Subplan Name"] === "CTE candidates");
      expect(candidates).toBeDefined();
      expect(nodesOf(present(candidates)).map((node) => node["Node Type"])).not.toContain("Sort");
    },
  );
});
