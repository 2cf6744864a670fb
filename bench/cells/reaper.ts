import { directAccess } from "../../src/files/foreign/path-operation.ts";
/**
 * 1,000,000 running jobs of 1,000 sessions, 10 of them dead: how long it takes to find those, to tick with nothing due, and to settle their
 * runs, with the loops of an embedded worker.
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";
import type { WorkerId } from "../../src/domain/ids.ts";
import { stopWithin } from "../../src/domain/stop-within.ts";
import { addMs } from "../../src/domain/time.ts";
import { type EmbeddedLoops, openEmbeddedLoops } from "../../src/embedded/embedded-loops.ts";
import { dataPaths } from "../../src/files/data-paths.ts";
import { ResultReader } from "../../src/gates/result-reader.ts";
import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import { createProcessProbe, type HostIdentity, type ProcessProbe } from "../../src/processes/probe/identity.ts";
import { systemProcessTable } from "../../src/processes/probe/process-table.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { newClientId, newHostId, random } from "../../src/runtime/entropy.ts";
import { createStoreClock } from "../../src/runtime/store-clock.ts";
import { createSettling } from "../../src/settling/settling.ts";
import { postgresMigrations } from "../../src/store/migrations/postgres.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { startPostgresServer } from "../../test/support/postgres-server.ts";
import { percentile } from "../figure.ts";
import { answer, inFolder, question } from "./answer.ts";

/** Longer than seeding takes, because the living renew before it begins. */
const deadAfterMs = 3_600_000;
const asked = question() as Crowd & { engine: "sqlite" | "postgres" };

await inFolder(async (folder) => {
  const host = await readHostIdentity({ stateDir: folder, randomId: newHostId });
  if (asked.engine === "sqlite") answer(await measure(join(folder, "bench.db"), host, seedSqlite));
  else {
    const server = await startPostgresServer();
    try {
      answer(await measure(server.url, host, seedPostgres));
    } finally {
      await server.stop();
    }
  }
});

type Seed = (url: string, host: HostIdentity, now: number) => Promise<void>;

async function measure(url: string, host: HostIdentity, seed: Seed): Promise<Readonly<Record<string, number>>> {
  const clock = systemClock();
  const open = (): Promise<Store> => openStore({ url, clock: createStoreClock({ host: clock }) });
  let store = await open();
  await store.jobs.ensureQueues([{ name: "bench", kind: "handler" }]);
  const now = store.now();
  await store.close();
  await seed(url, host, now);
  store = await open();
  const table = systemProcessTable();
  const probe = createProcessProbe({ host, table });
  const loops = loopsOf(store, host, probe);

  const found: number[] = [];
  for (let at = 0; at < 30; at++) {
    const began = performance.now();
    await find(store, host, probe);
    found.push(performance.now() - began);
  }
  const jobReaperMs = await ticks(loops, "job-reaper");
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const began = performance.now();
  await loops.recover();
  const settledMs = performance.now() - began;
  delay.disable();
  const workerReaperMs = await ticks(loops, "worker-reaper");
  const left = await store.runs.listOfWorkers({ workerIds: Array.from({ length: asked.dead }, (_, at) => (at + 1) as WorkerId), limit: 1 });
  if (left.length > 0) throw new Error("runs of dead sessions are left");
  await store.close();
  return {
    foundMs: percentile(found, 0.5),
    foundFirstMs: found[0] ?? Number.NaN,
    settledMs,
    loopDelayP95Ms: delay.percentile(95) / 1e6,
    loopDelayMaxMs: delay.max / 1e6,
    idleJobReaperMs: percentile(jobReaperMs, 0.5),
    idleWorkerReaperMs: percentile(workerReaperMs, 0.5),
  };
}

/** The sessions whose processes are proved dead, and the first 1,000 runs they hold. */
async function find(store: Store, { hostId }: HostIdentity, probe: ProcessProbe): Promise<void> {
  const { sessions } = await store.workers.listPresence({ hostId, silentSince: addMs(store.now(), -deadAfterMs) });
  const lives = probe.observeMany(sessions.map((worker) => worker.process));
  const dead = sessions.filter((_, at) => lives[at]?.kind === "dead").map((worker) => worker.id);
  const held = await store.runs.listHeld({ workerIds: dead, limit: 1000 });
  if (dead.length !== asked.dead || held.length !== Math.min(1000, (asked.jobs / asked.sessions) * asked.dead)) {
    throw new Error(`found ${dead.length} sessions and ${held.length} runs`);
  }
}

async function ticks(loops: EmbeddedLoops, name: "job-reaper" | "worker-reaper"): Promise<readonly number[]> {
  const took: number[] = [];
  for (let at = 0; at < 30; at++) {
    const began = performance.now();
    await loops.runOnce(name, { dryRun: false });
    took.push(performance.now() - began);
  }
  return took;
}

function loopsOf(store: Store, identity: HostIdentity, probe: ProcessProbe): EmbeddedLoops {
  const registry = new PipelineRegistry([]);
  const paths = dataPaths("");
  const stopGraces = { stopGraceMs: 5000, killGraceMs: 2000 };
  const emit = (): void => undefined;
  return openEmbeddedLoops({
    store,
    registry,
    settling: createSettling({
      store,
      registry,
      reader: new ResultReader({ paths, hostId: identity.hostId, baseDir: "", environment: {}, access: directAccess, gatesAtOnce: 1 }),
      random,
      emit,
      stopWithinMs: () => stopWithin(stopGraces),
    }),
    host: { identity, probe, table: systemProcessTable(), paths, clock: systemClock() },
    self: { ...identity, pid: process.pid, startTime: "0" },
    chance: { random, newId: newClientId },
    tell: { emit, alert: async () => true },
    limits: { renewMs: 5000, deadAfterMs, ...stopGraces },
  });
}

async function seedSqlite(url: string, host: HostIdentity, now: number): Promise<void> {
  const db = new DatabaseSync(url);
  const { id: queueId } = db.prepare("select id from queues").get() as { id: number };
  const series = (count: number): string =>
    `with recursive s (i) as (select 0 union all select i + 1 from s where i + 1 < ${count}) select i from s`;
  db.exec("begin immediate");
  for (const statement of crowdStatements(asked, { ...host, now, queueId }, series)) db.exec(statement);
  db.exec("commit");
  db.exec("pragma wal_checkpoint(truncate)");
  db.close();
}

async function seedPostgres(url: string, host: HostIdentity, now: number): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  // Else the tables take this for a program of an earlier version.
  await client.query(`set search_path to wakeful; set wakeful.schema = ${postgresMigrations.length}`);
  const { rows } = await client.query<{ id: string }>("select id from queues");
  const series = (count: number): string => `select generate_series(0, ${count - 1}) as i`;
  for (const statement of crowdStatements(asked, { ...host, now, queueId: Number(rows[0]?.id) }, series)) await client.query(statement);
  await client.query("vacuum analyze");
  await client.end();
}

/** A store full of running jobs, written straight into its tables: a million claims are not what is measured. */
interface Crowd {
  readonly jobs: number;
  readonly sessions: number;
  /** How many sessions belong to ended processes of this host; the others are on foreign hosts and renewed just now. */
  readonly dead: number;
}

interface CrowdFacts {
  readonly hostId: string;
  readonly bootId: string;
  readonly pidNamespace: string;
  readonly now: number;
  readonly queueId: number;
}

/** Statements in the SQL that both engines speak; `series(n)` gives the numbers 0 to n - 1 as `i`. */
function crowdStatements({ jobs, sessions, dead }: Crowd, facts: CrowdFacts, series: (count: number) => string): readonly string[] {
  const { hostId, bootId, pidNamespace, now, queueId } = facts;
  const pid = spawnSync("true").pid;
  return [
    `insert into workers (id, name, kind, state, host_id, boot_id, pid_namespace, pid, start_time, concurrency, queues, registered_at, last_heard_at)
     select i + 1, 'w', 'handler', 'live', case when i < ${dead} then '${hostId}' else 'host-' || (i % 100) end,
       case when i < ${dead} then '${bootId}' else 'boot-' || (i % 100) end, '${pidNamespace}', ${pid}, '1', 1000, '["bench"]', ${now}, ${now}
     from (${series(sessions)}) s`,
    `insert into jobs (id, queue_id, state, run_at, created_at, payload)
     select i + 1, ${queueId}, 'queued', ${now}, ${now}, '{"i":1}' from (${series(jobs)}) s`,
    // As claims would have made them: a hundred at a time to one session, the sessions in turns.
    `insert into live (id, job_id, attempt, state, worker_id, kind, claim_seq, reserved_at, started_at, check_at, max_running_ms)
     select i + 1, i + 1, 1, 'started', 1 + ((i / 100) * 7919) % ${sessions}, 'handler', 1 + i / ${sessions}, ${now}, ${now}, ${now} + 86400000, 86400000
     from (${series(jobs)}) s`,
  ];
}
