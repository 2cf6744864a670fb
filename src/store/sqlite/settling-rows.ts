import type { JobId, RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { SqliteConnection } from "./connection.ts";

/** What is to end: a job's run, and its start where that is not on record yet. */
export interface SettlingRow {
  readonly jobId: JobId;
  readonly runId: RunId;
  readonly startedAt?: Instant | undefined;
}

const jobSpan = 2 ** 16;
const runSpan = 2 ** 17;
/** Starts within a quarter of an hour; 0 stands for none. */
const startSpan = 2 ** 20;

/** In the memory of this connection alone, and empty between two transactions. */
const makeTable = `create temp table if not exists settling (
  job_id integer primary key, run_id integer not null, started_at integer)`;
const insertPacked = `
  insert or ignore into settling (job_id, run_id, started_at)
  select ?1 + (value >> 37), ?2 + ((value >> 20) & 131071), nullif(value & 1048575, 0) + ?3 from json_each(?4)`;

/** Rows whose differences from the smallest job, run and start fit into one integer each. */
export interface PackedRows {
  readonly jobId: number;
  readonly runId: number;
  readonly startedAt: number;
  /** As JSON. */
  readonly values: string;
}

/**
 * The temporary table `settling`, through which the ends of many plain runs reach the engine. A job, its run and its start travel as one
 * integer of 53 bits: three JSON values cost more to take apart.
 */
export class SettlingRows {
  readonly #connection: SqliteConnection;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
    connection.db.exec(makeTable);
  }

  /** Puts rows into the table. False: a job stands there twice, and one of its rows was left out. */
  put(rows: readonly SettlingRow[]): boolean {
    let put = 0;
    for (const { jobId, runId, startedAt, values } of packRows(rows))
      put += this.#connection.prepare(insertPacked).run(jobId, runId, startedAt, values).changes;
    return put === rows.length;
  }

  clear(): void {
    this.#connection.prepare("delete from settling").run();
  }
}

/** Packs rows, in as many groups as their differences ask for: one, where they were claimed together. */
export function packRows(rows: readonly SettlingRow[]): readonly PackedRows[] {
  const packed: PackedRows[] = [];
  for (let from = 0; from < rows.length; ) {
    const reach = reachOf(rows, from);
    packed.push(pack(rows, from, reach));
    from = reach.to;
  }
  return packed;
}

/** The rows from one on that fit together, and the smallest of each of their numbers. */
interface Reach {
  readonly to: number;
  readonly jobId: number;
  readonly runId: number;
  readonly startedAt: number;
}

function reachOf(rows: readonly SettlingRow[], from: number): Reach {
  const jobs = new Span();
  const runs = new Span();
  const starts = new Span();
  let to = from;
  for (; to < rows.length; to += 1) {
    const { jobId, runId, startedAt } = rows[to] as SettlingRow;
    const fits =
      jobs.with(jobId) < jobSpan && runs.with(runId) < runSpan && (startedAt === undefined || starts.with(startedAt) < startSpan - 1);
    if (!fits) break;
    jobs.add(jobId);
    runs.add(runId);
    if (startedAt !== undefined) starts.add(startedAt);
  }
  return { to, jobId: jobs.min, runId: runs.min, startedAt: (starts.empty ? 0 : starts.min) - 1 };
}

function pack(rows: readonly SettlingRow[], from: number, { to, jobId, runId, startedAt }: Reach): PackedRows {
  let values = "[";
  for (let at = from; at < to; at += 1) {
    const row = rows[at] as SettlingRow;
    const start = row.startedAt === undefined ? 0 : row.startedAt - startedAt;
    // Not by shifts, which are of 32 bits.
    const value = ((row.jobId - jobId) * runSpan + (row.runId - runId)) * startSpan + start;
    values += at === from ? value : `,${value}`;
  }
  return { jobId, runId, startedAt, values: `${values}]` };
}

/** The smallest and the largest of some numbers. */
class Span {
  min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;

  get empty(): boolean {
    return this.#max < this.min;
  }

  /** How wide it would be with one more. */
  with(value: number): number {
    return Math.max(this.#max, value) - Math.min(this.min, value);
  }

  add(value: number): void {
    this.min = Math.min(this.min, value);
    this.#max = Math.max(this.#max, value);
  }
}
