import pg from "pg";
import { holderName } from "./held-snapshot.ts";
import { processorTicks, ticksPerSecond } from "./server-processor.ts";
import { type WalRecords, walFigures } from "./wal-records.ts";

/** A statement by its normalised text. */
export interface StatementTime {
  readonly text: string;
  readonly callsPerJob: number;
  readonly usPerJob: number;
}

/** What the server did for one job, between the first handler call and the last settlement. */
export interface ServerWork {
  /** Time in statements, without planning and without the wait of a commit for the disk. */
  readonly statementUs: number;
  /** Processor time of the server's processes, those of its upkeep included. */
  readonly processorUs: number;
  readonly walBytes: number;
  /** The part of `walBytes` that is whole pages, written at their first change after a checkpoint. */
  readonly pageImageBytes: number;
  readonly indexInsertions: number;
  /** Transactions that wrote something. */
  readonly commits: number;
  /** Of all updated rows, those whose new version needed no index entry. */
  readonly hotShare: number;
  readonly statements: readonly StatementTime[];
}

export interface MeteredServer {
  readonly url: string;
  readonly pid: number;
}

interface Counters {
  readonly updates: number;
  readonly hot: number;
}

/** Reads the server's own counters around a piece of work. */
export class ServerMeter {
  readonly #client: pg.Client;
  readonly #pid: number;
  readonly #before: Counters;
  #begun: Promise<string> | undefined;
  #ticks = 0;

  private constructor(client: pg.Client, pid: number, before: Counters) {
    this.#client = client;
    this.#pid = pid;
    this.#before = before;
  }

  /** To be called before the worker connects: counters of rows are written when a connection ends. */
  static async open({ url, pid }: MeteredServer): Promise<ServerMeter> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query("create extension if not exists pg_stat_statements");
    await client.query("create extension if not exists pg_walinspect");
    await alone(client);
    return new ServerMeter(client, pid, await counters(client));
  }

  /** The first handler call. */
  begin(): void {
    this.#ticks = processorTicks(this.#pid);
    this.#begun = this.#client
      .query<{ lsn: string }>("select pg_current_wal_lsn()::text as lsn, pg_stat_statements_reset()")
      .then(({ rows }) => rows[0]?.lsn ?? "0/0");
  }

  /** The last settlement. `stopped` ends the worker's connections. */
  async end(jobs: number, stopped: () => Promise<void>): Promise<ServerWork> {
    const processorUs = ((processorTicks(this.#pid) - this.#ticks) / ticksPerSecond) * 1e6;
    const began = await this.#begun;
    const { rows: ends } = await this.#client.query<{ lsn: string }>("select pg_current_wal_flush_lsn()::text as lsn");
    const statements = await this.#statements(jobs);
    await stopped();
    const { rows: records } = await this.#client.query<WalRecords>(
      `select "resource_manager/record_type" as kind, count::float8 as count, combined_size::float8 as bytes, fpi_size::float8 as images
       from pg_get_wal_stats($1::pg_lsn, $2::pg_lsn, true) where count > 0`,
      [began, ends[0]?.lsn],
    );
    await alone(this.#client);
    const after = await counters(this.#client);
    await this.#client.end();
    const { bytes, imageBytes, indexInsertions, commits } = walFigures(records);
    return {
      statementUs: statements.reduce((sum, { usPerJob }) => sum + usPerJob, 0),
      processorUs: processorUs / jobs,
      walBytes: bytes / jobs,
      pageImageBytes: imageBytes / jobs,
      indexInsertions: indexInsertions / jobs,
      commits: commits / jobs,
      hotShare: (after.hot - this.#before.hot) / (after.updates - this.#before.updates),
      statements: statements.slice(0, 12),
    };
  }

  async #statements(jobs: number): Promise<readonly StatementTime[]> {
    const { rows } = await this.#client.query<{ query: string; calls: number; ms: number }>(
      `select query, calls::float8 as calls, total_exec_time as ms from pg_stat_statements
       where dbid = (select oid from pg_database where datname = current_database())
         and query not like '%wakeful-bench%' and query not like '%pg_stat_statements%' and query not like '%pg_current_wal%'
       order by total_exec_time desc`,
    );
    return rows.map(({ query, calls, ms }) => ({
      text: query.replaceAll(/\s+/g, " ").trim(),
      callsPerJob: calls / jobs,
      usPerJob: (ms * 1000) / jobs,
    }));
  }
}

async function counters(client: pg.Client): Promise<Counters> {
  const { rows } = await client.query<Counters>(
    `select coalesce(sum(n_tup_upd), 0)::float8 as updates, coalesce(sum(n_tup_hot_upd), 0)::float8 as hot from pg_stat_user_tables`,
  );
  return rows[0] ?? { updates: 0, hot: 0 };
}

/** A connection hands in its counts as it ends. */
async function alone(client: pg.Client): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    const { rows } = await client.query(
      `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
         and application_name <> $1`,
      [holderName],
    );
    if (rows.length === 0) return;
  }
  throw new Error("connections of the worker are still open");
}
